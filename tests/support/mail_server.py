"""A mail server on loopback that keeps accepted messages, and can refuse, hang or break off at any step."""

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from standin.loopback import Loopback, RequestLog

USER, PASSWORD = "opwatch", "a-mail-password-of-nobody"
HANG, BREAK_OFF = "hang", "break off"


class MailServer(Loopback):
    """Accepts messages. `replies` are other answers to a step (`AUTH`, `RCPT`, `DATA`, `QUIT`) or to one address.

    A reply is a line of SMTP, HANG or BREAK_OFF. With `tls` it requires STARTTLS and a login, or with `from_the_start`
    TLS.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, from_the_start: bool = False) -> None:
        super().__init__(tls=tls if from_the_start else None)
        self.replies: dict[str, str] = {}
        self._options: dict[str, Any] = {}
        if tls is not None and not from_the_start:
            self._options = {"tls_context": tls, "require_starttls": True, "auth_required": True}
        self._taken: RequestLog[Envelope] = RequestLog()

    @property
    def taken(self) -> list[tuple[list[str], EmailMessage]]:
        """Every message accepted so far, with its recipients."""
        return [
            (envelope.rcpt_tos, message_from_bytes(envelope.content or b"", policy=policy.default))
            for envelope in self._taken.snapshot()
            if isinstance(envelope.content, bytes)
        ]

    def speak(self) -> asyncio.BaseProtocol:
        """Speak SMTP."""
        return SMTP(
            self,
            hostname="mail.example",
            authenticator=self._authenticated,
            loop=asyncio.get_running_loop(),
            **self._options,
        )

    def hang_up(self) -> None:
        """Leave it to the end of the loop."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a recipient, or not."""
        reply = await self._reply(server, address if address in self.replies else "RCPT")
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept the message, or not."""
        reply = await self._reply(server, "DATA")
        if reply.startswith("2"):
            self._taken.append(envelope)
        return reply

    async def handle_QUIT(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        """Say goodbye, or not."""
        return await self._reply(server, "QUIT", "221 Bye")

    async def _reply(self, server: SMTP, step: str, welcome: str = "250 OK") -> str:
        reply = self.replies.get(step, welcome)
        if reply == HANG:
            await asyncio.sleep(3600)
        if reply == BREAK_OFF:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return reply

    def _authenticated(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any
    ) -> AuthResult:
        if refused := self.replies.get("AUTH"):
            return AuthResult(success=False, handled=False, message=refused)
        good = isinstance(login, LoginPassword) and (login.login, login.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)
