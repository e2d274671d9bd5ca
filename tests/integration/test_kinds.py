"""The contract of every kind of target, each against a server on loopback."""

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from config import logs
from config.settings import load
from notifiers import Checkable, Notifier, Previewable, kinds
from notifiers.targets import build
from operations.errors import ConfigError, OpwatchError, PermanentError, RateLimitedError, Reason, TransientError
from operations.model import Operation, State, Verdict
from operations.telling.announcement import Announcement, body_of, read
from tests.support import plugins
from tests.support.receiver import Reply
from tests.support.stages import (
    LANDING,
    MAIL,
    PAGE,
    SECRET,
    SIGNING_SECRET,
    SILENT,
    WAYS,
    HttpStage,
    Stage,
    attempted,
    staged,
)
from tests.unit.strategies import NOW, a_tracking
from workers.loop import HttpLoop

FAILED = read(
    "osc-fr1-1_1_failed_x",
    body_of(
        a_tracking(
            state=State.FAILED,
            ended_at=NOW,
            duration_s=42.0,
            operation=Operation(
                status="error", outcome=Verdict.FAILED, type="restart", error="@here <!channel> ```boom``` 🐑\nthe end"
            ),
            context={"actor": "jane", "url": "https://ci.example/7"},
        )
    ),
)
SHORT_S = 0.2
LEAST = {"REDIS_URL": "redis://127.0.0.1:1/0", "OPWATCH_TOKENS": "0" * 24, "SCALINGO_API_TOKEN": "tk-us-x"}

Tell = Callable[..., OpwatchError | None]


@pytest.fixture(scope="module", autouse=True)
def _third_parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the third-party kinds of the documentation."""
    with pytest.MonkeyPatch.context() as patch:
        for install in (plugins.apprise, plugins.ntfy):
            patch.syspath_prepend(install(tmp_path_factory.mktemp("site")))
        yield


@pytest.fixture(params=[*WAYS, MAIL])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Set up the stage of each kind in turn."""
    with staged(request.param) as ready:
        yield ready


@pytest.fixture(params=[name for name, way in WAYS.items() if way.says_why])
def http_stage(request: pytest.FixtureRequest) -> Iterator[HttpStage]:
    """Set up the stage of each kind that uses HTTP and reads the answer."""
    with staged(request.param) as ready:
        assert isinstance(ready, HttpStage)
        yield ready


@pytest.fixture
def tell(loop: HttpLoop) -> Tell:
    """Return a function that makes one attempt, as a worker does, and returns the error."""

    def attempt(stage: Stage, announcement: Announcement = FAILED, **deadline: float) -> OpwatchError | None:
        notifier = made(stage)
        return attempted(loop, lambda: notifier.send(announcement, loop.targets), **deadline)

    return attempt


def made(stage: Stage) -> Notifier:
    """Make the target from its table in a targets file."""
    return build("target", stage.settings, {}, plain_http=True).notifier


def says_why(stage: Stage) -> bool:
    """Whether it distinguishes a refusal from a failure."""
    return not isinstance(stage, HttpStage) or stage.way.says_why


def test_every_kind_is_put_to_the_test() -> None:
    assert set(kinds()) == {way.kind for way in WAYS.values()} | {MAIL, SILENT}


def test_what_is_taken_is_told_once(stage: Stage, tell: Tell) -> None:
    warning, alert = replace(FAILED, ended=False), replace(FAILED, alert="deliveries to `x` fail")
    for count, announcement in enumerate((FAILED, warning, alert, replace(alert, ended=False)), 1):
        assert tell(stage, announcement) is None
        assert stage.told == count


def test_a_check_tells_nobody(stage: Stage, loop: HttpLoop) -> None:
    notifier = made(stage)
    assert isinstance(notifier, Checkable)
    if isinstance(stage, HttpStage) and "bot_token" in stage.settings:
        stage.receiver.script("/api/auth.test", stage.way.taken)
    assert attempted(loop, lambda: notifier.check(loop.targets)) is None
    assert stage.told == 0


def test_a_preview_tells_nobody_and_shows_no_secret(stage: Stage) -> None:
    notifier = made(stage)
    assert isinstance(notifier, Previewable)
    for announcement in (FAILED, replace(FAILED, ended=False), replace(FAILED, alert="deliveries to `x` fail")):
        shown = notifier.preview(announcement)
        assert "restart" in shown or announcement.alert
        assert [secret for secret in (SECRET, SIGNING_SECRET) if secret in shown] == []
    assert stage.told == 0


def test_a_check_finds_nobody_there_where_we_dial_ourselves(stage: Stage, loop: HttpLoop) -> None:
    notifier = made(stage)
    assert isinstance(notifier, Checkable)
    stage.leave()
    error = attempted(loop, lambda: notifier.check(loop.targets))
    assert (error is None) is (stage.settings["kind"] == "apprise")
    assert error is None or error.reason is Reason.UNREACHABLE


def test_a_failure_is_worth_another_try(stage: Stage, tell: Tell) -> None:
    for how, reason in (("busy", Reason.SERVER_ERROR), ("break off", Reason.UNREACHABLE)):
        stage.behave(how)
        error = tell(stage)
        assert type(error) is TransientError, how
        assert error.reason is (reason if says_why(stage) else Reason.OTHER)
    stage.leave()
    assert type(tell(stage)) is TransientError, "no server"


def test_a_refusal_is_for_good_where_it_can_be_told(stage: Stage, tell: Tell) -> None:
    stage.behave("refuse")
    assert type(tell(stage)) is (PermanentError if says_why(stage) else TransientError)


def test_whatever_hangs_is_cut_off_at_the_deadline(stage: Stage, tell: Tell) -> None:
    stage.behave("hang")
    assert str(tell(stage, deadline_s=SHORT_S)) == "no answer in time"


def test_it_waits_as_long_as_it_is_asked_to(http_stage: HttpStage, tell: Tell) -> None:
    http_stage.answer(Reply(429, "", {"Retry-After": "77"}))
    error = tell(http_stage)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 77


def test_without_being_told_how_long_it_waits_a_while(http_stage: HttpStage, tell: Tell) -> None:
    http_stage.answer(Reply(429, ""))
    error = tell(http_stage)
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after_s or 0) >= 30


@pytest.mark.parametrize("name", WAYS)
def test_no_redirect_is_followed(name: str, tell: Tell) -> None:
    with staged(name) as stage:
        assert isinstance(stage, HttpStage)
        for status in (301, 302, 303, 307, 308):
            stage.answer(Reply(status, "ok", {"Location": stage.receiver.url(LANDING)}))
            assert type(tell(stage)) is TransientError, status
        assert [request.path for request in stage.receiver.requests] == [stage.way.path] * 5


@pytest.mark.parametrize("name", [name for name, way in WAYS.items() if way.knows_its_answers])
def test_somebody_elses_page_is_no_success(name: str, tell: Tell) -> None:
    with staged(name) as stage:
        assert isinstance(stage, HttpStage)
        stage.answer(PAGE)
        assert type(tell(stage)) is TransientError


def test_an_answer_without_end_is_not_kept_or_waited_for(http_stage: HttpStage, tell: Tell) -> None:
    http_stage.answer(Reply(503, "x" * 1000, drip_s=5))
    error = tell(http_stage, deadline_s=SHORT_S)
    assert type(error) is TransientError


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Log as a worker does at DEBUG, and keep every line."""
    root, kept = logging.getLogger(), list[str]()
    before, level = root.handlers[:], root.level
    logs.configure(load({**LEAST, "LOG_LEVEL": "DEBUG"}))
    root.setLevel(logging.DEBUG)

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(self.format(record))

    root.addHandler(Keeper())
    yield kept
    root.handlers[:] = before
    root.setLevel(level)


def test_no_secret_is_in_what_is_said(stage: Stage, tell: Tell, lines: list[str]) -> None:
    met = [tell(stage)]
    for how in ("refuse", "busy", "break off"):
        stage.behave(how)
        met.append(tell(stage))
    stage.leave()
    met.append(tell(stage))
    assert [error is None for error in met] == [True, False, False, False, False]
    said = [line for error in met if error for line in traceback.format_exception(error)]
    for text in (repr(made(stage)), *lines, *said):
        assert SECRET not in text
        assert SIGNING_SECRET not in text


REPEATED = (SECRET, SECRET[:9], SECRET[4:], SECRET.lower().replace("-", "_"), SECRET.lower()[:6], "no-" + SECRET[3:11])
CODED = (
    *(json.dumps(each) for each in REPEATED),
    json.dumps(base64.b64encode(SECRET.encode()).decode().rstrip("=")),
    json.dumps(SECRET.encode().hex()),
    "".join(f"\\u{ord(char):04x}" for char in SECRET).join(('"', '"')),
    json.dumps(quote("/" + SECRET, safe="")),
)


@pytest.mark.parametrize("name", ["discord", "mattermost", "rocketchat", "slack", "slack bot", "teams"])
def test_no_secret_comes_back_as_an_error_code(name: str, tell: Tell) -> None:
    with staged(name) as stage:
        assert isinstance(stage, HttpStage)
        for code in CODED:
            error_field = f'{{"code": {code}}}' if name == "teams" else code
            body = f'{{"ok": false, "id": {code}, "code": {code}, "error": {error_field}}}'
            for status in (200, 400, 503):
                stage.answer(Reply(status, body, {"Content-Type": "application/json"}))
                error = tell(stage)
                said = str(error).lower().replace("_", "-")
                parts = (json.loads(code).lower().replace("_", "-"), SECRET.lower()[4:10], SECRET.lower()[:6])
                assert [part for part in parts if part in said] == [], body


@pytest.mark.parametrize("name", [*WAYS, MAIL])
def test_a_wrong_setting_is_a_fault_that_shows_no_value(name: str) -> None:
    with staged(name) as stage, pytest.raises(ConfigError) as raised:
        build("target", {**stage.settings, "surprise": SECRET}, {}, plain_http=True)
    assert raised.value.faults == ("target 'target': surprise: there is no such rule or field",)


@pytest.mark.parametrize("name", [*WAYS, MAIL])
def test_what_is_not_encrypted_needs_the_operators_word(name: str) -> None:
    with staged(name) as stage, pytest.raises(ConfigError, match="OPWATCH_ALLOW_PRIVATE_TARGETS=true"):
        build("target", stage.settings, {}, plain_http=False)
