"""Settings: all faults at once, and no secret in any of them."""

import base64
import pprint
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from config.settings import Settings, examine, load
from notifiers.chat.mattermost import Mattermost
from notifiers.console import Console
from notifiers.slack.notifier import Slack
from notifiers.targets import build
from notifiers.webhook import Webhook
from operations.errors import ConfigError
from operations.kind import Kind
from operations.model import Verdict
from operations.telling.audience import Rule

NOWHERE = Path("no-such-directory")
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"t" * 64).decode()
SLACK_URL = "https://hooks.slack.example/services/T0/B0/ssssssssssss"
TOKEN = "t0ken-of-at-least-24-characters"  # noqa: S105 - of nobody
LEAST = {
    "REDIS_URL": "redis://:passw0rd@127.0.0.1:6379/0",
    "OPWATCH_TOKENS": f"ci:{TOKEN}",
    "SCALINGO_API_TOKEN": "tk-us-abc",
}


def faults(environ: dict[str, str], root: Path = NOWHERE) -> str:
    """Load faulty settings; returns all faults."""
    with pytest.raises(ConfigError) as caught:
        load(environ, root=root)
    assert caught.value.faults
    assert str(caught.value) == "\n".join(caught.value.faults)
    return str(caught.value)


def without(names: Iterable[str]) -> dict[str, str]:
    """Return the minimal settings, changed by these."""
    return {name: value for name, value in LEAST.items() if name not in names}


def test_the_least_settings_load_with_the_documented_defaults() -> None:
    settings = load(LEAST, root=NOWHERE)
    assert (settings.redis_url.get_secret_value(), settings.region) == (LEAST["REDIS_URL"], "osc-fr1")
    assert settings.regions == {
        "osc-fr1": "https://api.osc-fr1.scalingo.com",
        "osc-secnum-fr1": "https://api.osc-secnum-fr1.scalingo.com",
    }
    assert (settings.auth_url, settings.requests_per_minute) == ("https://auth.scalingo.com", 50)
    assert (settings.retention_days, settings.allow_private_targets, settings.heartbeat_url) == (7, False, None)
    assert (settings.log_level, settings.log_format) == ("INFO", "json")
    assert {name: token.get_secret_value() for name, token in settings.tokens.items()} == {"ci": TOKEN}
    assert {name: token.get_secret_value() for name, token in settings.accounts.items()} == {"default": "tk-us-abc"}
    assert isinstance(settings.targets["console"].notifier, Console)
    assert list(settings.rules) == ["console"]


BROKEN = {
    "OPWATCH_TOKENS": "ci:short-secret-a",
    "SCALINGO_REGION": "Secret Region",
    "SCALINGO_API_URL": "https://user:secret-b@api.example",
    "SCALINGO_REQUESTS_PER_MINUTE": "secret-c",
    "SLACK_WEBHOOK_URL": "hooks.slack.com/secret-d",
    "WEBHOOK_URL": "http://a.example/secret-e",
    "WEBHOOK_SECRET": "secret-f",
    "OPWATCH_ALLOW_PRIVATE_TARGETS": "secret-g",
    "OPWATCH_RETENTION_DAYS": "-1",
    "LOG_LEVEL": "secret-h",
    "LOG_FORMAT": "secret-i",
}


def test_all_faults_are_reported_at_once_without_any_value() -> None:
    found = faults(BROKEN)
    for name in BROKEN.keys() - {"SLACK_WEBHOOK_URL", "WEBHOOK_URL", "WEBHOOK_SECRET"}:
        assert name in found
    for missing in ("REDIS_URL", "SCALINGO_API_TOKEN", "SLACK_WEBHOOK_URL (", "WEBHOOK_URL (", "WEBHOOK_SECRET ("):
        assert missing in found
    assert "secret-" not in found


def wrong_values() -> Iterator[tuple[str, str]]:
    """Give, from the settings themselves, what is no number, flag or choice, and what is beyond a bound."""
    schema = Settings.model_json_schema()["properties"]
    for name, of in schema.items():
        if "enum" in of or of.get("type") in ("integer", "number", "boolean"):
            yield name, "hidden"
        if "minimum" in of:
            yield name, str(of["minimum"] - 1)
        if "exclusiveMinimum" in of:
            yield name, str(of["exclusiveMinimum"])
        if "maximum" in of:
            yield name, str(of["maximum"] + 1)
        for text in (of, *of.get("anyOf", ())):
            if "maxLength" in text:
                yield name, "hidden" * text["maxLength"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *wrong_values(),
        ("SCALINGO_REGION", "osc/hidden"),
        ("SCALINGO_API_URL", "ftp://hidden.example"),
        ("SCALINGO_API_URL", "https://api.example/?token=hidden"),
        ("SCALINGO_API_URL", "https://api.hidden:99999"),
        ("SCALINGO_AUTH_URL", "https://hidden@auth.example"),
        ("SCALINGO_DB_API_URL", "ftp://hidden.example"),
        ("OPWATCH_PUBLIC_URL", "hidden.example"),
        ("OPWATCH_EVENTS_SECRET", "hidden-and-too-short"),
        ("OPWATCH_EVENTS_SECRET", "hidden events secret of 24 characters"),
        ("OPWATCH_RETENTION_DAYS", "nan"),
        ("OPWATCH_HEARTBEAT_URL", "hidden"),
        ("OPWATCH_TOKENS", ":hidden-token-of-24-characters-and-more"),
        ("OPWATCH_TOKENS", "hidden-token-of-24-characters-and-more:ci"),
        ("OPWATCH_TOKENS", "ci:hidden"),
        ("OPWATCH_TOKENS", "ci:hidden token of 24 characters"),
        ("OPWATCH_TOKENS", "ci:hidden-tökén-of-24-characters"),
        ("OPWATCH_TOKENS", f"ci:{TOKEN},ci:hidden{TOKEN}"),
        ("OPWATCH_TOKENS", "ci:hidden-token-of-23-char:read"),
        ("OPWATCH_TOKENS", f"hidden{TOKEN}:read"),
        ("OPWATCH_TOKENS", f"ci:hidden{TOKEN},look:hidden{TOKEN}:read"),
        ("OPWATCH_TOKENS", f"ci:hidden{TOKEN}, deploy:hidden{TOKEN}"),
        ("OPWATCH_TOKENS", f"hidden{TOKEN},deploy:hidden{TOKEN}"),
        ("OPWATCH_TARGETS_FILE", "no-such-file.toml"),
    ],
)
def test_a_wrong_value_is_a_fault_that_names_the_variable_and_hides_the_value(name: str, value: str) -> None:
    found = faults({**LEAST, name: value})
    assert name in found
    assert "hidden" not in found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://:hidden@127.0.0.1", "one server"),
        ("redis+sentinel://hidden:26379/mymaster", "names a Sentinel"),
        ("REDIS://hidden", "one server"),
        ("redis://:hidden@127.0.0.1:port", "one server"),
        ("redis://hidden:0/0", "one server"),
        ("redis:///0?db=hidden", "one server"),
        ("redis://hidden-1:6379,hidden-2:6379/0", "one server"),
        ("redis://hidden-1,hidden-2/0", "one server"),
        ("redis://hidden/0 redis://hidden/1", "one server"),
        ("unix://hidden.sock", "one server"),
        ("redis://:hidden/slash@127.0.0.1:6379", "percent-encode"),
        ("redis://:hid@den/w:o#r@host:6379/0", "percent-encode"),
        ("redis://:6#hidden@host:6379/0", "percent-encode"),
        ("redis://name:6?hidden@host:6379/0", "percent-encode"),
        ("redis://name:6/hidden@host:6379/0", "percent-encode"),
        ("redis://:hid\tden@host:6379/0", "percent-encode"),
        ("redis://127.0.0.1/hidden", "one number"),
        ("redis://127.0.0.1/-1", "one number"),
        ("redis://127.0.0.1/1/2", "one number"),
        ("redis://127.0.0.1:6379/0,redis://hidden", "one number"),
        ("redis://127.0.0.1/0?db=1", "one number"),
        ("redis://127.0.0.1?db=", "one number"),
        ("redis://127.0.0.1?db=1&db=2", "once"),
        ("redis://127.0.0.1?decode_responses=true", "only db, ssl_ca_certs"),
        ("redis://127.0.0.1?max_connections=100", "only db, ssl_ca_certs"),
        ("redis://127.0.0.1?socket_timeout=0.01", "only db, ssl_ca_certs"),
        ("redis://127.0.0.1?host=hidden", "only db, ssl_ca_certs"),
        ("redis://127.0.0.1?ssl_cert_reqs=none", "rediss://"),
        ("rediss://127.0.0.1?ssl_cert_reqs=hidden", "do not fit"),
        ("rediss://127.0.0.1?ssl_ca_certs=/hidden", "no such file: ssl_ca_certs"),
    ],
)
def test_a_redis_url_that_redis_py_would_misunderstand_is_a_fault(url: str, said: str) -> None:
    found = faults({**LEAST, "REDIS_URL": url})
    assert said in found
    assert "hid" not in found


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://[::1]:6379/0/",
        "redis://:@my_redis-1.internal:6379/?db=2",
        "rediss://:p%40%2F%23ss@redis.example:1/3?ssl_cert_reqs=none&ssl_check_hostname=false",
        f"rediss://u:p@127.0.0.1?ssl_ca_certs={__file__}",
        "unix:///tmp/valkey.sock?db=0",
    ],
)
def test_a_redis_url_may_name_a_database_and_certificates(url: str) -> None:
    assert load({**LEAST, "REDIS_URL": url}, root=NOWHERE).redis_url.get_secret_value() == url


def test_every_faulty_token_is_reported() -> None:
    found = faults({**LEAST, "OPWATCH_TOKENS": f"ci:hidden, :{TOKEN}, a:{TOKEN}, a:{TOKEN}"})
    for fault in ("the token of entry 1 is too short", "entry 2 has no usable name", "entry 4 repeats the name 'a'"):
        assert fault in found
    assert found.count("OPWATCH_TOKENS") == 1


def test_what_can_be_read_is_there_beside_the_faults() -> None:
    given = {**LEAST, "SCALINGO_REQUESTS_PER_MINUTE": "1", "OPWATCH_TOKENS": "short", "WEBHOOK_URL": "x"}
    settings, found = examine({**given, "SLACK_WEBHOOK_URL": SLACK_URL, "SCALINGO_REGION": "osc-new1"}, root=NOWHERE)
    assert len(found) == 4
    assert (settings.requests_per_minute, settings.tokens, list(settings.targets)) == (50, {}, ["slack"])
    assert (settings.region, list(settings.accounts)) == ("osc-new1", ["default"])


def test_settings_are_frozen_and_what_follows_from_them_is_computed_once() -> None:
    settings = load(LEAST, root=NOWHERE)
    with pytest.raises(ValidationError, match="frozen"):
        settings.region = "osc-new1"  # type: ignore[misc]
    assert settings.rules is settings.rules
    assert settings.regions is settings.regions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLACK_WEBHOOK_URL", "http://hooks.slack.com/hidden"),
        ("SLACK_WEBHOOK_URL", "hooks.slack.com/hidden"),
        ("SLACK_WEBHOOK_URL", "https://"),
        ("SLACK_BOT_TOKEN", "xoxb-hidden"),
        ("SLACK_CHANNEL", "#hidden"),
        ("SLACK_API_URL", "https://hidden.example"),
        ("WEBHOOK_URL", "https://a.example/hidden"),
        ("WEBHOOK_SECRET", SECRET),
    ],
)
def test_half_a_target_or_a_wrong_one_is_a_fault_that_hides_the_value(name: str, value: str) -> None:
    found = faults({**LEAST, name: value})
    assert name.partition("_")[0].lower() in found
    assert "hidden" not in found
    assert SECRET not in found


@example_settings(deadline=None)  # a busy machine must not fail the test
@given(st.sampled_from([*BROKEN, *LEAST, "SLACK_BOT_TOKEN", "SLACK_API_URL", "SCALINGO_AUTH_URL"]), st.text(min_size=1))
def test_no_value_whatever_makes_loading_fail_with_anything_but_faults(name: str, value: str) -> None:
    try:
        settings = load({**LEAST, name: f"{value}hidden-value"}, root=NOWHERE)
    except ConfigError as error:
        assert "hidden-value" not in str(error)  # noqa: PT017 - either way is good
    else:
        assert "hidden-value" not in repr(settings)


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+sentinel", "sentinel"])
def test_a_sentinel_is_refused_by_its_name(scheme: str) -> None:
    assert "Sentinel" in faults({**LEAST, "REDIS_URL": f"{scheme}://127.0.0.1:26379/mymaster/0"})


@pytest.mark.parametrize("name", sorted(LEAST))
@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_variable_counts_as_not_set(name: str, empty: str) -> None:
    assert name in faults({**LEAST, name: empty})
    assert faults({**LEAST, name: empty}) == faults(without([name]))
    assert load({**LEAST, "LOG_FORMAT": empty, "SLACK_WEBHOOK_URL": empty}, root=NOWHERE).log_format == "json"


def test_nothing_secret_shows_in_the_settings_repr() -> None:
    given_settings = {
        **LEAST,
        "SLACK_WEBHOOK_URL": SLACK_URL,
        "WEBHOOK_URL": "https://a.example/x",
        "WEBHOOK_SECRET": SECRET,
    }
    settings = load({**given_settings, "OPWATCH_HEARTBEAT_URL": "https://hc.example/uuid"}, root=NOWHERE)
    shown = (
        repr(settings)
        + repr(settings.targets)
        + repr(settings.tokens)
        + repr(settings.accounts)
        + repr(settings.heartbeat_url)
        + f"{settings} {settings.targets}"
        + pprint.pformat(settings)
        + pprint.pformat(settings.model_dump())
        + "".join(repr(target.notifier) + str(target.notifier) for target in settings.targets.values())
    )
    assert "Settings(accounts=['default'], targets=['slack', 'webhook'])" in shown
    for secret in ("passw0rd", TOKEN, "tk-us-abc", SLACK_URL, "a.example", SECRET, "hc.example"):
        assert secret not in shown


def test_the_platforms_redis_is_used_where_no_other_is_named() -> None:
    environ = {**without(["REDIS_URL"]), "SCALINGO_REDIS_URL": "rediss://:p@redis.example:1"}
    assert load(environ, root=NOWHERE).redis_url.get_secret_value() == "rediss://:p@redis.example:1"
    assert load({**environ, **LEAST}, root=NOWHERE).redis_url.get_secret_value() == LEAST["REDIS_URL"]


def test_more_accounts_are_named_in_lower_case() -> None:
    environ = {**LEAST, "SCALINGO_API_TOKEN_AGENCY": "tk-us-b", "SCALINGO_API_TOKEN_TEAM_2": " tk-us-c "}
    accounts = load(environ, root=NOWHERE).accounts
    assert {name: token.get_secret_value() for name, token in accounts.items()} == {
        "default": "tk-us-abc", "agency": "tk-us-b", "team_2": "tk-us-c",
    }  # fmt: skip
    only = load({**without(["SCALINGO_API_TOKEN"]), "SCALINGO_API_TOKEN_AGENCY": "tk-us-b"}, root=NOWHERE)
    assert list(only.accounts) == ["agency"]


@pytest.mark.parametrize(
    ("environ", "region", "url"),
    [
        ({"SCALINGO_REGION": "osc-secnum-fr1"}, "osc-secnum-fr1", "https://api.osc-secnum-fr1.scalingo.com"),
        ({"SCALINGO_REGION": "osc-new1"}, "osc-new1", "https://api.osc-new1.scalingo.com"),
        ({"SCALINGO_API_URL": "http://127.0.0.1:9000/"}, "osc-fr1", "http://127.0.0.1:9000"),
        (
            {"SCALINGO_REGION": "mine", "SCALINGO_API_URL": "https://api.mine.example"},
            "mine",
            "https://api.mine.example",
        ),
    ],
)
def test_the_default_region_has_its_own_or_the_given_url(environ: dict[str, str], region: str, url: str) -> None:
    settings = load({**LEAST, **environ}, root=NOWHERE)
    assert (settings.region, settings.regions[region]) == (region, url)
    assert {"osc-fr1", "osc-secnum-fr1"} <= set(settings.regions)


def test_a_bare_token_as_one_click_deployments_make_it_is_taken() -> None:
    (token,) = load({**LEAST, "OPWATCH_TOKENS": TOKEN}, root=NOWHERE).tokens.values()
    assert token.get_secret_value() == TOKEN


def test_several_callers_have_each_their_token() -> None:
    settings = load({**LEAST, "OPWATCH_TOKENS": f"ci:{TOKEN}, deploy : x{TOKEN}:y"}, root=NOWHERE)
    assert {name: token.get_secret_value() for name, token in settings.tokens.items()} == {
        "ci": TOKEN,
        "deploy": f"x{TOKEN}:y",
    }


def test_a_token_with_read_behind_it_may_only_read_and_is_sent_without_it() -> None:
    tokens = load({**LEAST, "OPWATCH_TOKENS": f"ci:{TOKEN}, look : x{TOKEN}:read"}, root=NOWHERE).tokens
    assert {name: (token.get_secret_value(), token.may_change) for name, token in tokens.items()} == {
        "ci": (TOKEN, True),
        "look": (f"x{TOKEN}", False),
    }
    assert TOKEN not in repr(tokens)


# Targets


def test_the_environment_makes_the_targets_slack_and_webhook() -> None:
    environ = {
        "SLACK_WEBHOOK_URL": SLACK_URL,
        "WEBHOOK_URL": "https://a.example",
        "WEBHOOK_SECRET": f"{SECRET} {OTHER_SECRET}",
    }
    targets = load({**LEAST, **environ}, root=NOWHERE).targets
    slack, webhook = targets["slack"].notifier, targets["webhook"].notifier
    assert isinstance(slack, Slack)
    assert isinstance(webhook, Webhook)
    assert slack.webhook_url is not None
    assert slack.webhook_url.get_secret_value() == SLACK_URL
    assert [secret.get_secret_value() for secret in webhook.secret] == [SECRET, OTHER_SECRET]
    assert set(targets) == {"slack", "webhook"}
    by_bot = (
        load({**LEAST, "SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#ops"}, root=NOWHERE).targets["slack"].notifier
    )
    assert isinstance(by_bot, Slack)
    assert (by_bot.channel, by_bot.webhook_url, by_bot.live) == ("#ops", None, False)


def test_a_bot_keeps_messages_up_to_date_where_it_is_asked_to() -> None:
    bot = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#ops"}
    assert load({**LEAST, **bot, "SLACK_LIVE": "true"}, root=NOWHERE).rules["slack"].live
    assert not load({**LEAST, **bot, "SLACK_LIVE": "false"}, root=NOWHERE).rules["slack"].live


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('webhook_url = "https://hooks.slack.example/x"', "live = true needs a bot token and a channel"),
        ('bot_token = "xoxb-1"\nchannel = "C1"\non = ["failed"]', "on: must hold every verdict if live = true"),
        ('bot_token = "xoxb-1"\nchannel = "C1"\non = ["succeeded", "slow"]', "on: must hold every verdict"),
    ],
)
def test_what_cannot_be_kept_up_to_date_is_a_fault(tmp_path: Path, table: str, fault: str) -> None:
    (tmp_path / "targets.toml").write_text(f'[targets.a]\nkind = "slack"\nlive = true\n{table}', encoding="utf-8")
    with pytest.raises(ConfigError, match=fault):
        load({**LEAST, "OPWATCH_TARGETS_FILE": "targets.toml"}, root=tmp_path)


@pytest.mark.parametrize(
    ("on", "verdicts", "warned"),
    [
        ("", frozenset(Verdict), False),
        ('on = ["slow"]', frozenset(), True),
        ('on = ["failed", "slow"]', frozenset({Verdict.FAILED}), True),
        ('on = ["succeeded", "failed", "timed_out", "lost", "slow"]', frozenset(Verdict), True),
    ],
)
def test_a_target_hears_every_verdict_and_of_slow_operations_when_it_asks_for_it(
    tmp_path: Path,
    on: str,
    verdicts: frozenset[Verdict],
    warned: bool,  # noqa: FBT001
) -> None:
    (tmp_path / "targets.toml").write_text(f'[targets.a]\nkind = "console"\n{on}', encoding="utf-8")
    rule = load({**LEAST, "OPWATCH_TARGETS_FILE": "targets.toml"}, root=tmp_path).rules["a"]
    assert (rule.on, rule.slow) == (verdicts, warned)


def test_the_environment_has_rules_for_slack_too() -> None:
    own = {"SLACK_WEBHOOK_URL": SLACK_URL, "SLACK_ON": "failed, recovered", "SLACK_APPS": "shop,shop-*"}
    settings = load({**LEAST, **own, "SLACK_MENTION": "<@${ONCALL}>", "ONCALL": "U1"}, root=NOWHERE)
    rule, slack = settings.rules["slack"], settings.targets["slack"].notifier
    assert (rule.on, rule.recovered, rule.apps) == (frozenset({Verdict.FAILED}), True, ("shop", "shop-*"))
    assert isinstance(slack, Slack)
    assert slack.mention == "<@U1>"
    assert load({**LEAST, "SLACK_WEBHOOK_URL": SLACK_URL, "SLACK_ON": ","}, root=NOWHERE).rules["slack"] == Rule(
        groups="closing"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SLACK_ON", "failed,hidden", "SLACK_ON (target 'slack': on.1): Input should be 'succeeded', 'failed'"),
        ("SLACK_MENTION", "@hidden", "SLACK_MENTION (target 'slack': mention): must be <!here>"),
        ("SLACK_CHANNEL", "", "target 'slack': needs either a webhook URL, or a bot token and a channel"),
        ("SLACK_LIVE", "true", "SLACK_ON (target 'slack': on): must hold every verdict if live = true"),
        ("OPWATCH_TARGETS", "[targets.a]\nkind = 'hidden", "OPWATCH_TARGETS is not TOML: "),
        (
            "OPWATCH_TARGETS",
            "[target.a]\nx = 'hidden'",
            "OPWATCH_TARGETS: target is not known: only [targets.<name>] and [people] may stand here",
        ),
        ("OPWATCH_TARGETS", "[targets.slack]\nkind = 'console'", "defined in the environment and in OPWATCH_TARGETS"),
        (
            "OPWATCH_TARGETS",
            "[targets.a]\nkind = 'console'\nkinds = ['hidden']",
            "target 'a': kinds.0: Input should be",
        ),
        ("OPWATCH_TARGETS", "[people]\njane = ['hidden']", '[people]: write each person as jane = "<@U123>", or'),
        ("OPWATCH_TARGETS", "[people]\njane = '${GONE}'", "[people]: GONE is not set in the environment"),
        ("OPWATCH_TARGETS", "[people]\njane = '@hidden'", "(target 'slack': mention): [people] jane: must be <!here>"),
    ],
)
def test_each_fault_of_a_rule_says_what_to_correct(name: str, value: str, said: str) -> None:
    by_bot = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#ops", "SLACK_ON": "failed", "SLACK_MENTION": "actor"}
    found = faults({**LEAST, **by_bot, name: value, "SCALINGO_REGION": "A region"})
    assert said in found
    assert "SCALINGO_REGION" in found, "all at once"
    assert "hidden" not in found


def test_the_text_of_a_targets_file_may_be_a_variable(tmp_path: Path) -> None:
    text = """
        [targets.chat]
        kind = "mattermost"
        webhook_url = "${CHAT}"
        mention = "actor"
        mention_on = ["succeeded", "${WHEN}"]
        kinds = ["deployment", "backup"]
        environments = ["prod*"]
        [people]
        "Jane.Doe" = { mattermost = "@${JANE}", slack = "<@U1>" }
        joe = { slack = "<@U2>" }
        """
    given = {**LEAST, "CHAT": "https://chat.example/hidden", "WHEN": "lost", "JANE": "jane", "OPWATCH_TARGETS": text}
    settings = load(given, root=tmp_path)
    rule, chat = settings.rules["chat"], settings.targets["chat"].notifier
    assert (rule.kinds, rule.environments) == (frozenset({Kind.DEPLOYMENT, Kind.BACKUP}), ("prod*",))
    assert isinstance(chat, Mattermost)
    assert (chat.mention, chat.mention_on) == ("actor", (Verdict.SUCCEEDED, Verdict.LOST))
    one_line = "targets = { a = { kind = 'console' }, b = { kind = 'console', on = ['failed'] } }"
    assert set(load({**given, "OPWATCH_TARGETS": one_line}, root=tmp_path).targets) == {"a", "b"}
    assert "kind" not in repr(settings) + pprint.pformat(settings.model_dump())
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "targets.toml").write_text("", encoding="utf-8")
    assert "OPWATCH_TARGETS: the file config/targets.toml gives targets as well" in faults(given, tmp_path)
    both = faults({**given, "OPWATCH_TARGETS_FILE": "own.toml"}, tmp_path)
    assert "OPWATCH_TARGETS: OPWATCH_TARGETS_FILE gives targets as well; keep only one of them" in both


def test_a_file_adds_targets_with_rules_and_variables(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "targets.toml").write_text(
        """
        [targets.deploys]
        kind = "slack"
        webhook_url = "${SLACK_DEPLOYS_URL}"
        on = ["failed", "timed_out", "lost"]
        apps = ["shop-*"]
        mention = "<!here>"

        [targets.hook]
        kind = "webhook"
        url = "https://${HOOK_HOST}/in"
        secret = ["${HOOK_SECRET}", "OTHER_SECRET"]
        """.replace("OTHER_SECRET", OTHER_SECRET),
        encoding="utf-8",
    )
    environ = {**LEAST, "SLACK_DEPLOYS_URL": SLACK_URL, "HOOK_HOST": "a.example", "HOOK_SECRET": SECRET}
    settings = load(environ, root=tmp_path)
    assert set(settings.targets) == {"deploys", "hook"}
    rule, slack = settings.rules["deploys"], settings.targets["deploys"].notifier
    assert (rule.on, rule.apps) == (frozenset({Verdict.FAILED, Verdict.TIMED_OUT, Verdict.LOST}), ("shop-*",))
    assert isinstance(slack, Slack)
    assert slack.mention == "<!here>"
    hook = settings.targets["hook"].notifier
    assert isinstance(hook, Webhook)
    assert hook.url.get_secret_value() == "https://a.example/in"
    assert len(hook.secret) == 2
    with_slack = load({**environ, "SLACK_WEBHOOK_URL": SLACK_URL}, root=tmp_path)
    assert set(with_slack.targets) == {"deploys", "hook", "slack"}
    found = faults(LEAST, tmp_path)
    assert all(name in found for name in ("SLACK_DEPLOYS_URL", "HOOK_HOST", "HOOK_SECRET"))


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[targets.a]", "kind"),
        ('[targets.a]\nkind = "pigeon"', "console, discord, email, "),
        ('[targets.a]\nkind = "console"\nfeather = "hidden"', "feather"),
        ('[targets.a]\nkind = "console"\nenvironment = ["hidden"]', "rule or field; do you mean environments?"),
        ('[targets.a]\nkind = "console"\nmention_on = "hidden"', "there is no such rule or field"),
        ('[targets.a]\nkind = "slack"\nmention-on = ["hidden"]', "do you mean mention_on?"),
        ('[people]\njane = { slak = "hidden" }', "[people]: kind 'slak' is not known"),
        ('[person]\njane = "hidden"', "person is not known: only [targets.<name>] and [people]"),
        ('[targets.a]\nkind = "console"\non = ["hidden"]', "on.0: Input should be 'succeeded', 'failed'"),
        ('[targets.a]\nkind = "console"\non = ["slow", "hidden"]', "'lost', 'slow' or 'recovered'"),
        ('[targets.a]\nkind = "console"\non = "failed"', 'on: must be a list, as in ["…"]'),
        ('[targets.a]\nkind = "console"\napps = "shop"', "apps"),
        ('[targets.a]\nkind = "slack"', "webhook URL"),
        ('[targets.a]\nkind = "slack"\nwebhook_url = "https://a.example/hidden"\nchannel = "x"', "either"),
        ('[targets.a]\nkind = "slack"\nwebhook_url = "${GONE}"', "GONE"),
        ('[targets.a]\nkind = "slack"\nwebhook_url = 7', "webhook_url"),
        ('[targets."A b"]\nkind = "console"', "A b"),
        (f'[targets.{"a" * 42}]\nkind = "console"', "41"),
        ('[target.a]\nkind = "console"', "[targets.<name>]"),
        ("targets = 7", "[targets.<name>]"),
        ("[targets]\na = 7", "[targets.<name>]"),
        ("[targets", "TOML"),
        ("[targets.a]\nkind = 'hidden", "TOML"),
    ],
)
def test_a_wrong_targets_file_is_a_fault_that_says_where(toml: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(toml, encoding="utf-8")
    found = faults({**LEAST, "OPWATCH_TARGETS_FILE": "own.toml"}, tmp_path)
    assert said in found
    assert "hidden" not in found


def test_a_targets_file_that_is_not_utf8_or_no_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(b"# \xff")
    (tmp_path / "folder").mkdir()
    for name in ("own.toml", "folder"):
        assert "OPWATCH_TARGETS_FILE" in faults({**LEAST, "OPWATCH_TARGETS_FILE": name}, tmp_path)


def test_a_target_defined_twice_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[targets.slack]\nkind = "console"', encoding="utf-8")
    found = faults({**LEAST, "OPWATCH_TARGETS_FILE": "own.toml", "SLACK_WEBHOOK_URL": SLACK_URL}, tmp_path)
    assert "'slack': defined in the environment and in the file" in found


def test_the_alert_target_is_one_of_the_targets(tmp_path: Path) -> None:
    (tmp_path / "targets.toml").write_text('[targets.ops]\nkind = "console"\n', encoding="utf-8")
    given = {**LEAST, "OPWATCH_TARGETS_FILE": "targets.toml", "SLACK_WEBHOOK_URL": SLACK_URL}
    assert load(given, root=tmp_path).alert_target is None
    for name in ("ops", "slack"):
        assert load({**given, "OPWATCH_ALERT_TARGET": name}, root=tmp_path).alert_target == name
    assert load({**LEAST, "OPWATCH_ALERT_TARGET": "console"}, root=NOWHERE).alert_target == "console"


@pytest.mark.parametrize("name", ["nobody", "Slack", SLACK_URL])
def test_an_alert_target_that_is_not_there_is_a_fault_that_lists_those_there_are(name: str) -> None:
    given = {**LEAST, "SLACK_WEBHOOK_URL": SLACK_URL, "WEBHOOK_URL": "https://a.example", "WEBHOOK_SECRET": SECRET}
    said = faults({**given, "OPWATCH_ALERT_TARGET": name, "OPWATCH_RETENTION_DAYS": "-1"})
    assert "OPWATCH_ALERT_TARGET: no target has this name; configured: slack, webhook" in said
    assert "OPWATCH_RETENTION_DAYS" in said
    assert SLACK_URL not in said


def test_plain_http_needs_the_operators_leave() -> None:
    environ = {**LEAST, "WEBHOOK_URL": "http://127.0.0.1:8000/in", "WEBHOOK_SECRET": SECRET}
    assert "OPWATCH_ALLOW_PRIVATE_TARGETS" in faults(environ)
    settings = load({**environ, "OPWATCH_ALLOW_PRIVATE_TARGETS": "true"}, root=NOWHERE)
    assert settings.allow_private_targets
    assert set(settings.targets) == {"webhook"}
    assert "https://" in faults({**environ, "WEBHOOK_URL": "ftp://a.example", "OPWATCH_ALLOW_PRIVATE_TARGETS": "true"})


@pytest.mark.parametrize(
    ("secret", "good"),
    [
        (SECRET, True),
        (OTHER_SECRET, True),
        (f"{SECRET}\n {OTHER_SECRET}", True),
        (SECRET.removeprefix("whsec_"), False),
        ("whsec_", False),
        ("whsec_" + base64.b64encode(b"s" * 23).decode(), False),
        ("whsec_" + base64.b64encode(b"s" * 65).decode(), False),
        ("whsec_" + "!" * 32, False),
        ("whsec_" + "é" * 32, False),
        (SECRET[:-1], False),
        (f"{SECRET},{OTHER_SECRET}", False),
        (f"{SECRET} short", False),
    ],
)
def test_a_webhook_secret_is_whsec_and_24_to_64_bytes(secret: str, good: bool) -> None:  # noqa: FBT001
    environ = {**LEAST, "WEBHOOK_URL": "https://a.example", "WEBHOOK_SECRET": secret}
    if good:
        assert load(environ, root=NOWHERE).targets["webhook"]
    else:
        found = faults(environ)
        assert "whsec_ and the base64 of 24 to 64 random bytes" in found
        assert secret not in found.replace("whsec_ and", "").replace("echo whsec_", "")


BOT = {"kind": "slack", "bot_token": "xoxb-1", "channel": "C0123"}
HOOK = {"kind": "slack", "webhook_url": "https://hooks.slack.com/services/T0/B0/s"}


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (HOOK | {"webhook_url": "https://hooks.slack.com/triggers/T01/1/hidden"}, "webhook_url: starts a workflow"),
        (HOOK | {"webhook_url": "https://hooks.slack.com/workflows/T01/A1/hidden"}, "webhook_url: starts a workflow"),
        *((HOOK | {"mention": mention}, "mention: must be <!here>") for mention in (
            "@here", "U012AB3CD", "<@jane>", "<!hidden>", "<!subteam^ops>", "<!here>\n", "here", "", "<@U1>,<@U2>",
        )),
        (BOT | {"channel": "https://acme.slack.com/hidden/C0123"}, "channel: must be the channel's id"),
        (BOT | {"bot_token": "xoxb hidden"}, "bot_token: must be a token without blanks"),
        (BOT | {"bot_token": "xoxb-h\u00efdden"}, "bot_token: must be a token without blanks"),
        ({"kind": "teams", "webhook_url": "https://[::1/hidden"}, "webhook_url: must be a URL"),
        ({"kind": "teams", "webhook_url": "https://x.example:99999/hidden"}, "webhook_url: must be a URL"),
        ({"kind": "webhook", "url": "https://x.example/", "secret": "a hidden b"}, "secret: must be whsec_"),
    ],
)  # fmt: skip
def test_what_could_never_be_told_is_a_fault_at_start(table: dict[str, str], fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build("x", table, {}, plain_http=False)
    (said,) = raised.value.faults
    assert said.startswith(f"target 'x': {fault}")
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        (HOOK | {"webhook_url": " https://hooks.slack.com/services/T0/B0/s\n"}, "webhook_url", HOOK["webhook_url"]),
        (BOT | {"bot_token": "xoxb-1\n"}, "bot_token", "xoxb-1"),
        (BOT | {"channel": "https://acme.slack.com/archives/C0123"}, "channel", "C0123"),
        (BOT | {"channel": "https://acme.slack.com/archives/C0123/p1700000000000100?x=y"}, "channel", "C0123"),
        (BOT | {"channel": "https://app.slack.com/client/T01/C0123"}, "channel", "C0123"),
        (BOT | {"channel": "#deploys"}, "channel", "#deploys"),
        (HOOK | {"mention": "<!subteam^S01|@ops> <@W01>"}, "mention", "<!subteam^S01|@ops> <@W01>"),
    ],
)
def test_what_people_copy_is_understood(table: dict[str, str], field: str, value: str) -> None:
    given = getattr(build("x", table, {}, plain_http=False).notifier, field)
    assert (given.get_secret_value() if isinstance(given, SecretStr) else given) == value
