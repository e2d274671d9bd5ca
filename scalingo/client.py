"""Looks at operations, deployments, database operations and backups through Scalingo's API."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Literal

import aiohttp
from pydantic import SecretStr

from operations.errors import OperationMissingError, OpwatchError, TransientError
from operations.kind import Kind
from operations.model import Operation, Tracking, Verdict
from operations.telling.announcement import cut_error
from operations.watching.glances import Source, Status
from scalingo import listing, output
from scalingo.address import API_KINDS
from scalingo.answers import Answer, failure, parse_answer, parse_json
from scalingo.sign_in import SignIn
from scalingo.transport import NEVER_S, Gate, Transport

OutputShown = Literal["cause", "tail", "off"]
"""What a failed deployment's text shows of its output."""

_SPARE_S = 0.5
_MOST_ROUTES = 1_000


@dataclass(frozen=True, slots=True)
class Hosts:
    """The configured base URLs: of the API and of the database API by region, and of the auth host."""

    apis: Mapping[str, str]
    database_apis: Mapping[str, str]
    auth_url: str


class Client:
    """Looks at what is tracked. It is bound to one event loop."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        accounts: Mapping[str, SecretStr],
        hosts: Hosts,
        gate: Gate,
        output_shown: OutputShown = "cause",
    ) -> None:
        self._accounts = accounts
        self._hosts = hosts
        self._output_shown = output_shown
        self._transport = Transport(session, gate)
        self.sign_in = SignIn(self._transport, accounts=accounts, auth_url=hosts.auth_url, gate=gate)
        self._other_route: dict[str, None] = {}

    async def look(self, tracking: Tracking, *, granted_at_s: float, within_s: float) -> Operation:
        """Look once. The caller cancels it after `within_s`.

        The caller spent the token for this request at `granted_at_s` (monotonic clock). Further tokens are spent here,
        also if the first has expired during a sign-in. Raises the OpwatchError for a missing or unusable answer, and
        SignInRejectedError if the API token is rejected.
        """
        until_s = time.monotonic() + within_s - _SPARE_S
        api_kind = API_KINDS[tracking.kind]
        bases = self._hosts.database_apis if api_kind.in_database_api else self._hosts.apis
        if tracking.account not in self._accounts or not {tracking.region} <= {*bases} & {*self._hosts.apis}:
            known = tracking.account in self._accounts
            missing = f"region {tracking.region}" if known else f"account {tracking.account}"
            message = f"the {missing} is no longer configured: configure it again, or cancel this tracking"
            raise TransientError(message)
        paths = api_kind.paths(tracking)
        if tracking.id in self._other_route:
            paths = paths[::-1]
        for path in paths:
            answer = await self._ask(tracking, bases[tracking.region] + path, granted_at_s)
            granted_at_s = NEVER_S
            try:
                seen = parse_answer(api_kind, answer, thing_id=tracking.operation_id, app=tracking.app)
            except OperationMissingError:
                if path == paths[-1]:
                    raise
                continue
            self._remember_route(tracking, is_other=path != api_kind.paths(tracking)[0])
            break
        wants_text = tracking.kind is Kind.DEPLOYMENT and seen.outcome is Verdict.FAILED
        return await self._with_text(tracking, seen, until_s) if wants_text else seen

    async def glance(self, account: str, region: str, source: Source, *, granted_at_s: float) -> listing.Listed:
        """List what a glance shows. The caller cancels it in time, and has spent the first token.

        Each further page spends a token here. Raises OpwatchError for a missing or unusable answer.
        """
        shown, size, page = dict[str, Status](), 0, 1
        for number in range(1, listing.MOST_PAGES[source] + 1):
            url = self._hosts.apis[region] + listing.path(source, page)
            answer = await self.sign_in.ask("GET", url, account, granted_at_s, listing.LARGEST_LIST)
            listed = listing.parse_page(source, answer)
            shown |= listed.shown
            size += len(answer.body)
            if listed.next_page is None or listed.next_page <= page:
                return listing.Listed(shown, number, size)
            page, granted_at_s = listed.next_page, NEVER_S
        return listing.Listed(shown, listing.MOST_PAGES[source], size)

    async def _ask(self, tracking: Tracking, url: str, granted_at_s: float) -> Answer:
        if not API_KINDS[tracking.kind].in_database_api:
            return await self.sign_in.ask("GET", url, tracking.account, granted_at_s)
        answer = Answer(HTTPStatus.UNAUTHORIZED, b"")
        for granted in (granted_at_s, NEVER_S):
            token = await self.sign_in.addon_token(tracking, self._hosts.apis[tracking.region])
            allowed = await self._transport.allowed(tracking.account, granted)
            answer = (await self._transport.send("GET", url, token.header, allowed))._replace(hide=token.hide)
            if not _rejects_token(answer):
                return answer
            self.sign_in.forget(token)
        raise TransientError(f"the database API rejects a new token of the addon ({answer.status})")

    def _remember_route(self, tracking: Tracking, *, is_other: bool) -> None:
        self._other_route.pop(tracking.id, None)
        if is_other and tracking.kind in (Kind.DATABASE, Kind.BACKUP):
            self._other_route[tracking.id] = None
            if len(self._other_route) > _MOST_ROUTES:
                del self._other_route[next(iter(self._other_route))]

    async def _with_text(self, tracking: Tracking, failed: Operation, until_s: float) -> Operation:
        """Add the reason of a failed deployment, from its output; the status, if that cannot be read in time."""
        if self._output_shown == "off":
            return replace(failed, error=failed.status)
        try:
            async with asyncio.timeout(until_s - time.monotonic()):
                text = await self._text_of_output(tracking, failed.status) or failed.status
        except TimeoutError:
            text = f"{failed.status} (its output could not be read in time)"
        except OpwatchError as error:
            text = f"{failed.status} (its output could not be read: {error})"
        cut = cut_error(text)
        return replace(failed, error=cut, error_truncated=cut != text)

    async def _text_of_output(self, tracking: Tracking, status: str) -> str:
        """Read the output as a stream, and keep its end.

        https://developers.scalingo.com/deployments#get-the-output-of-a-deployment
        """
        bearer = await self.sign_in.bearer(tracking.account)
        allowed = await self._transport.allowed(tracking.account)
        (path,) = API_KINDS[tracking.kind].paths(tracking)
        url = f"{self._hosts.apis[tracking.region]}{path}/output"
        async with self._transport.opened("GET", url, bearer.header, allowed, accept="text/plain") as response:
            end = output.Tail()
            async for chunk in response.content.iter_any():
                end.add(chunk)
            answer = Answer(response.status, end.text().encode())
        if answer.status != HTTPStatus.OK:
            raise failure(answer._replace(hide=bearer.hide), app=tracking.app, resource="output")
        if self._output_shown == "tail":
            shown = await asyncio.to_thread(output.tail, end.text())
        else:
            shown = await asyncio.to_thread(output.cause, end.text(), status)
            if shown and status == "aborted":  # the output of an aborted deployment does not say so
                shown = f"{status}\n\n{shown}"
        return bearer.hide(shown)


def _rejects_token(answer: Answer) -> bool:
    """Tell whether the database API rejects a token: it answers 400 instead of 401."""
    document = parse_json(answer.body) if answer.status == HTTPStatus.BAD_REQUEST else None
    said = document.get("error") if isinstance(document, dict) else None
    return answer.status == HTTPStatus.UNAUTHORIZED or (
        isinstance(said, str) and said.strip().lower() == "unauthorized"
    )
