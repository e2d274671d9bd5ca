"""Kind `email`: one message per outcome, by SMTP.

https://www.rfc-editor.org/rfc/rfc5321#section-4.2.1 (what replies mean), RFC 3207 (STARTTLS), RFC 8314 (TLS from the
start), RFC 3834 (automatic messages).
"""

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, formatdate, parseaddr
from html import escape
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationInfo, model_validator

from notifiers import (
    REFUSED_BY_US,
    Announcement,
    ClientSession,
    Kind,
    OpwatchError,
    PermanentError,
    Reason,
    TransientError,
    connect,
    context_wording,
    cut_middle,
    first_line,
    private_allowed,
    whole_lines,
    wording,
)

if TYPE_CHECKING:
    from aiosmtplib import SMTP

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_TEXT_LIMIT_BYTES = 10_000
_SUBJECT_LIMIT = 200
_SEVEN_BIT = policy.SMTP.clone(cte_type="7bit")  # every server accepts that
_PART_S, _QUIT_S = 20.0, 2.0
_REMEMBERED = 1_000
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif"
_MONO = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
_MARKUP = context_wording.Markup(
    safe=escape, code=escape, link=lambda word, url: f'<a href="{escape(url)}">{escape(word)}</a>'
)
_ADDRESS = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.-]{1,255}")


def _mailbox(text: str) -> str:
    if not text.isprintable() or _ADDRESS.fullmatch(parseaddr(text)[1]) is None:
        raise ValueError("must be an address, `ops@example.com` or `Opwatch <ops@example.com>`")
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class Email(Kind):
    """Sends one message, as plain text and as HTML, through a mail server."""

    # Servers that greylist take a message some minutes after its first attempt.
    retry_delays_s: ClassVar[tuple[float, ...]] = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0)
    at_once: ClassVar[int] = 2
    groups: ClassVar[str] = "each"
    set_up: ClassVar[str] = """\
Use a mail server that relays mail after a login, such as your provider's. Most servers need an app password.

```toml
[targets.mail]
kind = "email"
host = "smtp.example.com"
encryption = "starttls"
username = "opwatch"
password = "${SMTP_PASSWORD}"
from = "Opwatch <opwatch@example.com>"
to = ["ops@example.com", "dev@example.com"]
```

- The server's certificate must be valid for `host`.
- After a reply from 400 to 499, the delivery is retried some minutes later, because of greylisting. After a reply of
  500 or above, it is given up.
- If the server refuses only some addresses in `to`, the others get the message. The delivery is given up, and
  `last_error` says so. If a reply is below 500, the delivery is retried instead, for the refused addresses only.
  Another worker, or a restarted one, sends it to all again.
- All attempts have the same `Message-ID`, so mail servers can drop duplicates.
- The guard against private addresses applies here too.
"""
    limits: ClassVar[str] = "the text is cut to 10,000 bytes, the subject to 200 characters."

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,255}$", description="the mail server")]
    port: Annotated[
        int | None, Field(ge=1, le=65_535, description="default: 587 (`starttls`), 465 (`tls`) or 25 (`none`)")
    ] = None
    encryption: Annotated[
        Literal["starttls", "tls", "none"], Field(description="`none` needs `OPWATCH_ALLOW_PRIVATE_TARGETS=true`")
    ] = "starttls"
    username: Annotated[str | None, Field(description="together with `password`")] = None
    password: Annotated[SecretStr | None, Field(description="together with `username`")] = None
    sender: Annotated[Mailbox, Field(alias="from", description="an address, or `Name <address>`")]
    to: Annotated[
        tuple[Mailbox, ...],
        BeforeValidator(_listed),
        Field(min_length=1, max_length=50, description="one address, or several"),
    ]
    _private_allowed: bool = PrivateAttr(default=False)
    _accepted: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)
    """The recipients that have a message already, by delivery, as far as this process knows."""

    @model_validator(mode="after")
    def _safe(self, info: ValidationInfo) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("needs both username and password, or neither")
        if self.encryption == "none" and not private_allowed(info):
            raise ValueError('encryption = "none" needs OPWATCH_ALLOW_PRIVATE_TARGETS=true')
        self._private_allowed = private_allowed(info)
        return self

    async def send(self, announcement: Announcement, http: ClientSession) -> None:  # noqa: ARG002 - it speaks no HTTP
        """Send once, to those who do not have it yet. Raises if some recipients are refused: the others have it."""
        have_it = self._accepted.get(announcement.delivery_id, frozenset())
        recipients = [address for address in (parseaddr(mailbox)[1] for mailbox in self.to) if address not in have_it]
        async with self._signed_in() as server:
            refused, _ = await server.send_message(self.message(announcement), recipients=recipients)
        self._accepted.pop(announcement.delivery_id, None)
        if not refused:
            return
        said = f"the mail server accepted the message, but refused {len(refused)} of {len(self.to)} recipients"
        if all(reply.code // 100 == 5 for reply in refused.values()):  # noqa: PLR2004
            raise PermanentError(said)
        self._accepted[announcement.delivery_id] = have_it | (set(recipients) - set(refused))
        if len(self._accepted) > _REMEMBERED:
            del self._accepted[next(iter(self._accepted))]
        raise TransientError(f"{said}, some for now", reason=Reason.SERVER_ERROR)

    async def check(self, http: ClientSession) -> str:  # noqa: ARG002
        """Connect and sign in, without sending anything."""
        async with self._signed_in() as server:
            await server.noop()
        signed_in = f"signed in as {self.username}" if self.username else "connected"
        return f"{signed_in} at {self.host}; only send-test shows whether it accepts messages"

    def preview(self, announcement: Announcement) -> str:
        """Write the message as people read it."""
        message = self.message(announcement)
        plain = message.get_body(("plain",))
        text = "" if plain is None else plain.get_content()
        headers = "".join(f"{name}: {message[name]}\n" for name in ("From", "To", "Subject", "Message-ID"))
        return f"{headers}\n{text}"

    @asynccontextmanager
    async def _signed_in(self) -> "AsyncIterator[SMTP]":
        """Connect, encrypt and sign in by the settings. Turns all errors of the connection into OpwatchErrors."""
        import aiosmtplib  # noqa: PLC0415 - `web` never sends, and so saves the memory

        port = self.port or _PORTS[self.encryption]
        server = aiosmtplib.SMTP(
            hostname=self.host,
            use_tls=self.encryption == "tls",
            start_tls=self.encryption == "starttls",
            username=self.username,
            password=None if self.password is None else self.password.get_secret_value(),
            local_hostname=self._domain(),
            timeout=_PART_S,
        )
        try:
            await server.connect(sock=await connect(self.host, port, private_allowed=self._private_allowed))
            yield server
            with suppress(aiosmtplib.SMTPException):  # the message is accepted: a failure here must not cause a retry
                await server.quit(timeout=_QUIT_S)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refusal(each.code for each in error.recipients) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal([error.code]) from None
        except OSError as error:
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            text = cause.strerror or str(cause) or type(cause).__name__
            reason = Reason.GUARD if REFUSED_BY_US in text else Reason.UNREACHABLE
            raise TransientError(f"no answer: {text}", reason=reason) from None
        except aiosmtplib.SMTPException:  # the only other errors that it raises
            message = "the mail server lacks what the settings require: STARTTLS, or a login method that Opwatch knows"
            raise PermanentError(message) from None
        finally:
            server.close()

    def message(self, announcement: Announcement) -> EmailMessage:
        """Write the message. All attempts have the same Message-ID, so mail servers can drop duplicates."""
        headline = wording.headline(announcement)
        message = EmailMessage(_SEVEN_BIT)
        message["Subject"] = first_line(wording.for_terminals(headline), _SUBJECT_LIMIT)
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Date"] = formatdate() if announcement.at is None else format_datetime(announcement.at)
        message["Message-ID"] = f"<{announcement.delivery_id}@{self._domain()}>"
        if announcement.ended and announcement.alert is None:  # it answers the warning, if there was one
            warning = announcement.delivery_id.replace(f"_{announcement.verdict}_", "_slow_", 1)
            message["In-Reply-To"] = message["References"] = f"<{warning}@{self._domain()}>"
        message["Auto-Submitted"] = "auto-generated"
        below = wording.plain_text(announcement, _TEXT_LIMIT_BYTES)
        message.set_content(f"{headline}\n\n{below}".strip() + "\n")
        message.add_alternative(page(announcement), subtype="html")
        return message

    def _domain(self) -> str:
        return parseaddr(self.sender)[1].rpartition("@")[2]


def page(announcement: Announcement) -> str:
    """Write the message as HTML, with the verdict's colour at its side, and nothing to load."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title></title></head>\n'
        f'<body style="margin:0;padding:12px;{_FONT};font-size:16px;line-height:1.4">\n'
        f'<div style="border-left:4px solid #{wording.colour(announcement):06x};padding-left:12px">\n'
        f"{''.join(_parts(announcement))}</div></body></html>\n"
    )


def _parts(announcement: Announcement) -> Iterator[str]:
    yield f'<p style="margin:0 0 8px;font-weight:600">{escape(wording.headline(announcement))}</p>\n'
    if said := whole_lines(cut_middle(wording.explanation(announcement), _TEXT_LIMIT_BYTES, wording.size_bytes)):
        yield (
            f'<pre style="{_MONO};font-size:14px;background:#8882;padding:8px;border-radius:4px;margin:0 0 8px;'
            f'white-space:pre-wrap;overflow-wrap:anywhere">{escape(said)}</pre>\n'
        )
    if said := " · ".join(context_wording.phrases(announcement, _MARKUP)):
        yield f'<p style="font-size:14px;margin:0">{said}</p>\n'


def _refusal(codes: Iterable[int]) -> OpwatchError:
    """Classify SMTP replies: 4yz is transient, 5yz permanent. Only codes are kept, since a text may hold anything."""
    given = sorted(set(codes))
    said = f"the mail server answered {', '.join(str(code) if code > 0 else 'no SMTP' for code in given)}"
    if all(code // 100 == 5 for code in given):  # noqa: PLR2004
        return PermanentError(said)
    return TransientError(said, reason=Reason.SERVER_ERROR)
