"""Mail: encryption, signing in, and recipients, against a third-party mail server."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifiers.email import Email
from notifiers.targets import build
from operations.errors import OpwatchError, PermanentError, TransientError
from tests.support.mail_server import BREAK_OFF, PASSWORD, USER, MailServer
from tests.support.stages import attempted
from tests.unit.test_slack_message import SHOP
from workers.loop import HttpLoop

LOGIN = {"username": USER, "password": PASSWORD}

Attempt = Callable[[Email], OpwatchError | None]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for `localhost`, and the file of its authority."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return context, path


@pytest.fixture
def trusted(signed: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Trust the authority, as an operator would. Returns the server's side."""
    monkeypatch.setenv("SSL_CERT_FILE", str(signed[1]))
    return signed[0]


@pytest.fixture
def server(trusted: ssl.SSLContext) -> Iterator[MailServer]:
    """Run a mail server that requires encryption and a login."""
    with MailServer(trusted) as running:
        yield running


def email(server: MailServer, **changes: Any) -> Email:
    table = {"kind": "email", "host": "localhost", "port": server.port, "from": "Opwatch <opwatch@example.com>"}
    table |= {"to": ["a@example.com", "b@example.com"], **LOGIN, **changes}
    notifier = build("mail", {k: v for k, v in table.items() if v is not None}, {}, plain_http=True).notifier
    assert isinstance(notifier, Email)
    return notifier


@pytest.fixture
def told(loop: HttpLoop) -> Attempt:
    """Return a function that sends once, and returns the error."""
    return lambda notifier: attempted(loop, lambda: notifier.send(SHOP, loop.targets))


@pytest.fixture
def checked(loop: HttpLoop) -> Attempt:
    """Return a function that checks the settings, and returns the error."""
    return lambda notifier: attempted(loop, lambda: notifier.check(loop.targets))


def test_it_encrypts_signs_in_and_tells_all_recipients(server: MailServer, told: Attempt) -> None:
    assert told(email(server)) is None
    ((recipients, message),) = server.taken
    assert recipients == ["a@example.com", "b@example.com"]
    assert message["Subject"] == "❌ shop: restart failed after 42 s"
    assert "boot timeout" in message.get_body(("plain",)).get_content()


def test_it_speaks_tls_from_the_start_where_it_is_told_to(trusted: ssl.SSLContext, told: Attempt) -> None:
    with MailServer(trusted, from_the_start=True) as server:
        assert told(email(server, encryption="tls", username=None, password=None)) is None
        assert len(server.taken) == 1


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    signed: tuple[ssl.SSLContext, Path], encryption: str, told: Attempt
) -> None:
    with MailServer(signed[0], from_the_start=encryption == "tls") as server:
        error = told(email(server, encryption=encryption))
        assert type(error) is TransientError
        assert "certificate verify failed" in str(error)
        assert server.taken == []


def test_a_certificate_for_another_name_is_refused(server: MailServer, told: Attempt) -> None:
    error = told(email(server, host="127.0.0.1"))
    assert type(error) is TransientError
    assert "certificate verify failed" in str(error)
    assert server.taken == []


def test_nothing_is_sent_where_encryption_is_not_offered(told: Attempt) -> None:
    with MailServer() as server:
        error = told(email(server))
        assert type(error) is PermanentError
        assert "STARTTLS" in str(error)
        assert type(told(email(server, encryption="tls"))) is TransientError
        assert server.taken == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [("535 5.7.8 wrong", PermanentError), ("454 4.7.0 later", TransientError), ("no SMTP at all", TransientError)],
)
def test_a_login_that_is_refused_for_now_is_tried_again(
    server: MailServer, reply: str, kind: type[OpwatchError], told: Attempt
) -> None:
    server.replies = {"AUTH": reply}
    error = told(email(server))
    assert type(error) is kind
    assert str(error) == f"the mail server answered {reply[:3] if reply[0].isdigit() else 'no SMTP'}"


def test_where_all_recipients_are_refused_for_now_it_is_tried_again(server: MailServer, told: Attempt) -> None:
    server.replies = {"a@example.com": "450 4.2.0 greylisted", "b@example.com": "550 5.1.1 nobody"}
    error = told(email(server))
    assert type(error) is TransientError
    assert str(error) == "the mail server answered 450, 550"
    server.replies = {"RCPT": "550 5.1.1 nobody"}
    assert type(told(email(server))) is PermanentError


def test_where_some_recipients_are_refused_the_others_have_it_once(server: MailServer, told: Attempt) -> None:
    server.replies = {"b@example.com": "550 5.1.1 nobody"}
    error = told(email(server))
    assert type(error) is PermanentError
    assert str(error) == "the mail server accepted the message, but refused 1 of 2 recipients"
    assert [recipients for recipients, _ in server.taken] == [["a@example.com"]]


def test_who_is_refused_for_now_is_tried_again_and_nobody_else(server: MailServer, told: Attempt) -> None:
    server.replies = {"b@example.com": "451 4.2.0 greylisted", "c@example.com": "450 4.2.0 greylisted"}
    notifier = email(server, to=["a@example.com", "B <b@example.com>", "c@example.com"])
    for replies in (server.replies, {"c@example.com": "450 4.2.0 greylisted"}, {"RCPT": "451 4.3.0 later"}):
        server.replies = replies
        assert type(told(notifier)) is TransientError
    server.replies = {}
    assert told(notifier) is None
    assert [recipients for recipients, _ in server.taken] == [["a@example.com"], ["b@example.com"], ["c@example.com"]]


def test_what_was_taken_is_told_however_the_server_takes_its_leave(server: MailServer, told: Attempt) -> None:
    for reply in ("500 5.5.1 what", BREAK_OFF):
        server.replies = {"QUIT": reply}
        assert told(email(server)) is None
    assert len(server.taken) == 2


def test_every_attempt_has_the_same_id(server: MailServer, told: Attempt) -> None:
    for _ in range(2):
        assert told(email(server)) is None
    assert {message["Message-ID"] for _, message in server.taken} == {"<id_1_failed_slack@example.com>"}


def test_a_check_signs_in_and_sends_nothing(server: MailServer, checked: Attempt) -> None:
    assert checked(email(server)) is None
    assert type(checked(email(server, password="wrong-" + PASSWORD))) is PermanentError
    assert server.taken == []


def test_a_preview_shows_what_people_read(server: MailServer) -> None:
    shown = email(server).preview(SHOP)
    assert "Subject: ❌ shop: restart failed after 42 s\n" in shown
    assert "boot timeout" in shown
    assert PASSWORD not in shown
