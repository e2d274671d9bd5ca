"""Random inputs for the parsers that need no server: each gives a value, or an error that says what is wrong."""

import base64
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config.reading import variables
from config.settings import Settings, load
from notifiers.targets import Target, build
from operations.errors import ConfigError, PermanentError, TransientError, no_answer
from scalingo.bearer import LASTS_S, lifetime_s
from tests.unit.strategies import NOW
from tests.unit.test_settings import LEAST, NOWHERE

jsons: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NOW_S = NOW.timestamp()


def a_jwt(claims: str) -> str:
    return f"e30.{base64.urlsafe_b64encode(claims.encode('utf-8', 'replace')).decode().rstrip('=')}.x"


@given(
    st.text()
    | jsons.map(json.dumps).map(a_jwt)
    | st.fixed_dictionaries({"exp": jsons}, optional={"iat": jsons}).map(json.dumps).map(a_jwt)
)
@example(a_jwt('{"exp": NaN}'))
@example(a_jwt('{"exp": Infinity, "iat": Infinity}'))
@example(a_jwt('{"exp": 1' + "0" * 400 + "}"))
@example(a_jwt('{"exp": 1, "iat": -1' + "0" * 400 + "}"))
@example(a_jwt('{"exp": ' + "9" * 5000 + "}"))
@example(a_jwt("[" * 100_000))
@example("a.b")
@example("..")
@example("a.\u0430.b")
def test_whatever_a_bearer_claims_it_is_kept_for_a_second_to_an_hour(token: str) -> None:
    assert 1 <= lifetime_s(token, datetime.now(UTC)) <= LASTS_S


@pytest.mark.parametrize(
    ("claims", "lasts_s"),
    [
        ({"iat": NOW_S, "exp": NOW_S + 600}, 600),
        ({"exp": NOW_S + 600}, 600),
        ({"iat": NOW_S, "exp": NOW_S + 86_400}, 3600),
        ({"iat": NOW_S, "exp": NOW_S - 600}, 1),
        ({"iat": str(NOW_S), "exp": str(NOW_S + 600)}, 600),
        ({"iat": NOW_S, "exp": math.nan}, 3600),
        ({"iat": NOW_S, "exp": 10**400}, 3600),
        ({}, 3600),
    ],
)
def test_a_bearer_lasts_as_long_as_it_says_an_hour_at_most(claims: dict[str, Any], lasts_s: float) -> None:
    assert lifetime_s(a_jwt(json.dumps(claims)), NOW) == lasts_s


NAMES = [name.replace("<ACCOUNT>", "X") for setting in Settings.model_fields.values() for name in variables(setting)]
values = st.text(min_size=1) | st.sampled_from(
    ["redis://h:1/0?x=1", "redis://[::1", "rediss://h?ssl_cert_reqs=x", "unix://", "https://x", "http://[", "true",
     "nan", "inf", "1e400", "-1", "9" * 5000, "whsec_", "a:b,c:d", ",", ":", "debug", "\u0661", "${X}"]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES), values))
@example({"REDIS_URL": "redis://h/0?no_such_option=1"})
@example({"REDIS_URL": "redis://h/0?retry=1"})
@example({"REDIS_URL": "rediss://h/0?ssl_cert_reqs=sometimes"})
@example({"SCALINGO_API_TOKEN": "tk-us-\u0430"})
@example({"SCALINGO_API_TOKEN_X": "tk-us-\n-x"})
@example({"OPWATCH_RETENTION_DAYS": "nan"})
def test_any_environment_makes_settings_or_a_list_of_faults(environ: dict[str, str]) -> None:
    try:
        loaded = load({**LEAST, **environ}, root=NOWHERE)
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - either way is good
        assert all(fault.isprintable() for fault in error.faults)  # noqa: PT017 - either way is good
    else:
        assert isinstance(loaded, Settings)
        for token in loaded.accounts.values():  # it becomes a header
            assert token.get_secret_value().isascii()
            assert token.get_secret_value().isprintable()


tables = st.dictionaries(
    st.sampled_from(["kind", "on", "apps", "url", "secret", "webhook_url", "bot_token", "channel", "mention"])
    | st.text(),
    jsons | st.sampled_from(["slack", "webhook", "console", "https://x.example", "${SECRET}", ["failed"]]),
)


@given(st.text() | st.just("x"), tables, st.booleans())
@example("x", {"kind": "${SECRET}"}, False)  # noqa: FBT003
@example("x", {"kind": "slack", "webhook_url": "${SECRET}"}, False)  # noqa: FBT003
@example("x", {"kind": "webhook", "url": "https://x.example", "secret": ["${SECRET}"]}, False)  # noqa: FBT003
@example("x", {"kind": "console", "on": ["${SECRET}"]}, False)  # noqa: FBT003
def test_any_table_makes_a_target_or_a_list_of_faults_without_secrets(
    name: str,
    table: dict[str, Any],
    plain_http: bool,  # noqa: FBT001
) -> None:
    try:
        made = build(name, table, {"SECRET": "the-very-secret"}, plain_http=plain_http)
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - either way is good
        assert "the-very-secret" not in str(error)  # noqa: PT017 - either way is good
    else:
        assert isinstance(made, Target)
        if not {"${SECRET}"} & {str(table.get(name)) for name in ("channel", "mention")}:  # these are not secrets
            assert "the-very-secret" not in repr(made.notifier) + str(made.notifier)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text()
    | st.lists(st.sampled_from(["[targets", ".x]", "\n", "kind", "=", '"slack"', "[[", "{", "}", "'", "#"])).map(
        "".join
    )
)
@example("x = " + "[" * 100_000)
@example("[targets]\nx = 1")
@example("targets = 1979-05-27")
@example("[[targets]]")
def test_any_text_is_a_targets_file_or_a_list_of_faults(tmp_path: Path, text: str) -> None:
    file = tmp_path / "targets.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load({**LEAST, "OPWATCH_TARGETS_FILE": str(file)}, root=NOWHERE)
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - either way is good


@pytest.mark.parametrize(
    "error",
    [
        OSError("https://hooks.example/secret"),
        OSError(5, "https://hooks.example/secret"),
        OSError(5, "x", "https://hooks.example/secret"),
        ConnectionError("https://hooks.example/secret"),
        ValueError("https://hooks.example/secret"),
        KeyError("https://hooks.example/secret"),
        UnicodeEncodeError("utf-8", "https://hooks.example/secret", 0, 1, "secret"),
        TimeoutError("https://hooks.example/secret"),
    ],
)
def test_nothing_of_a_foreign_errors_text_is_told(error: Exception) -> None:
    said = no_answer(error)
    assert isinstance(said, TransientError)
    assert not isinstance(said, PermanentError)
    assert "secret" not in str(said)
    assert "no answer" in str(said)
