"""The word for an answer that is no success, by its HTTP status, the same in every kind. Pure."""

from http import HTTPStatus

from operations.errors import Reason


def reason_of(status: int) -> Reason:
    """Sort an answer into the few words that metrics have for it."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Reason.RATE_LIMITED
    if status == HTTPStatus.GONE:
        return Reason.GONE
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Reason.SERVER_ERROR
    return Reason.REFUSED if status >= HTTPStatus.MULTIPLE_CHOICES else Reason.OTHER
