"""The words for failures in a row, the same in every kind. Pure."""

from operations.model import Verdict
from operations.telling.announcement import Announcement


def verdict(announcement: Announcement, word: str, took: str) -> str:
    """Write an outcome: `failed after 42 s (3rd in a row)`, `succeeded again after 2 failures, in 42 s`."""
    failures = announcement.failures_in_a_row
    if failures and announcement.verdict is Verdict.SUCCEEDED:
        said = f"{word} {again(failures)}"
        return f"{said}, in {took}" if took else said
    said = f"{word} after {took}" if took else word
    return f"{said} ({ordinal(failures)} in a row)" if failed_again(announcement) else said


def again(failures: int) -> str:
    """Write how many failures a success ends: `again after 2 failures`; empty for none."""
    return f"again after {failures} failure{'s' if failures > 1 else ''}" if failures else ""


def failed_again(announcement: Announcement) -> bool:
    """Tell whether the operation before failed, too."""
    return announcement.verdict is Verdict.FAILED and announcement.failures_in_a_row > 1 and not announcement.slow


def ordinal(number: int) -> str:
    """Write a number's place: `1st`, `2nd`, `3rd`, `11th`."""
    teens = number // 10 % 10 == 1
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
