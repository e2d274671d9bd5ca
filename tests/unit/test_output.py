"""Why a deployment failed, found in its output. The logs are rewritten from public ones, in tests/support/outputs.

In these files ␛, ␍ and ␈ stand for the control characters escape, carriage return and backspace.
"""

import re
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.slack.message import ERROR_LIMIT
from operations.telling.announcement import cut_error
from operations.text import encodable
from scalingo.output import KEPT_BYTES, LAST_LINES, LINES_BEFORE, LONGEST_LINE, Tail, cause, tail
from scalingo.terminal import lines_shown

OUTPUTS = Path(__file__).parents[1] / "support" / "outputs"
ESC = "\x1b"
FAILED_BUILDPACK = " !   Error deploying the application\n !   → Invalid return code from buildpack\n"
REASON = "→ Timeout: shop took more than 60 seconds to boot"
TIMEOUT = f" !   Error deploying the application\n !   {REASON}\n"
TIMEOUT_FIRST = f" !   {REASON}\n !   Error deploying the application\n"
HOOK_FAILED = "[postdeploy-1] c failed\n\n[postdeploy-1] a\n[postdeploy-1] c failed"

# Of each output: the status, the first line of the cause, what else it contains, and what it does not.
CAUSES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "aborted": ("aborted", "       ✓ built chunk 21", ["chunk 60"], ["Unmet dependencies"]),
    "bundler": (
        "build-error",
        "Failed to install gems via Bundler.",
        ["Your bundle only supports platforms", "Invalid return code from buildpack"],
        [],
    ),
    "bundler_native": (
        "build-error",
        "Unable to find PostgreSQL client library.",
        [
            "An error occurred while installing pg (1.5.8), and Bundler cannot continue.",
            " !     Failed to install gems via Bundler.",
        ],
        ["without-pg-lib"],
    ),
    "composer": (
        "build-error",
        "- Root composer.json requires PHP extension ext-redis * but it is missing from your system.",
        ["Downloading: 100%\n", "laravel/framework v12.1.0 requires php ^8.4"],
        ["75%"],
    ),
    "crash": (
        "crashed-error",
        "Error: Cannot find module 'express'",
        [
            " !   → Your application has stopped unexpectedly",
            "at Function._resolveFilename",
            "code: 'MODULE_NOT_FOUND'",
        ],
        ["Application Logs", "Documentation", "Build succeeded", "run_main_module"],
    ),
    "django_collectstatic": (
        "build-error",
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
        [" !     Error while running '$ python manage.py collectstatic --noinput'."],
        [],
    ),
    "elixir": (
        "build-error",
        "error: undefined function vat/1 (expected Shop.Cart to define such a function)",
        ["└─ lib/shop/cart.ex:27:11: Shop.Cart.total/1", "** (CompileError) lib/shop/cart.ex: cannot compile"],
        [],
    ),
    "go": ("build-error", "cart/total.go:27:14: undefined: vatOf", ["declared and not used: sum"], []),
    "gradle": (
        "build-error",
        "> Task :assetCompile FAILED",
        ["> A problem occurred starting process 'command 'broccoli''"],
        [],
    ),
    "hook_rails": (
        "hook-error",
        '[postdeploy-2231] PG::DuplicateColumn: ERROR:  column "vat" of relation "orders" already exists',
        ["StandardError: An error has occurred, this and all later migrations canceled:", "… 34 more lines"],
        ["Build complete", "Application Logs", "declared a Ruby version", "step5.rb"],
    ),
    "hook_timeout": (
        "hook-error",
        "→ Postdeploy hook failed: exit status -128",
        ["[postdeploy-2719] Rebuilding the index of 4012232 products"],
        ["Build complete"],
    ),
    "image_too_large": (
        "build-error",
        " !   -> shop image exceeds the limit of 1536MB - (2158MB)",
        [" !   Error deploying the application"],
        ["Documentation", "torch"],
    ),
    "maven": (
        "build-error",
        "[ERROR] /build/src/main/java/shop/Cart.java:[41,23] cannot find symbol",
        ["symbol:   method vat()", "Compilation failure", "ERROR: Failed to build app with Maven"],
        ["Progress (1)"],
    ),
    "meteor": ("build-error", "error: unknown package in top-level dependencies: shop:ldap", [], []),
    "next": (
        "build-error",
        "Type error: Cannot find module '@vitejs/plugin-react' or its corresponding type declarations.",
        ["./ui/vite.config.ts:3:19", "> 3 | import react from '@vitejs/plugin-react';"],
        [],
    ),
    "nginx": (
        "build-error",
        'nginx: [emerg] unknown directive "proxy_pas" in /build/nginx.conf:14',
        ["100 3412k  100 3412k    0     0  9871k"],
        ["  0 3412k"],
    ),
    "node_out_of_memory": (
        "build-error",
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        ["transforming (1204) src/views/b.vue\n"],
        ["transforming (318)"],
    ),
    "npm_conflict": (
        "build-error",
        "npm error ERESOLVE could not resolve",
        ['npm error peer react@"^16.8.5 || ^17.0.0" from react-beautiful-grid@13.1.1', "Conflicting peer dependency"],
        ["idealTree", "NPM_CONFIG_LOGLEVEL"],
    ),
    "npm_typescript": (
        "build-error",
        "src/cart/total.ts(14,9): error TS2322: Type 'string' is not assignable to type 'number'.",
        ["error TS2339: Property 'vat' does not exist on type 'Cart'."],
        [],
    ),
    "php_cache": (
        "build-error",
        "tar (child): /tmp/cache/package/nginx-1.20.1.tgz: Cannot open: No such file or directory",
        ["=====> Detected Framework: PHP (composer.json)"],
        [],
    ),
    "pip": (
        "build-error",
        "ERROR: Could not find a version that satisfies the requirement apturl==0.5.2 (from versions: none)",
        ["16.0/16.0 MB 93.2 MB/s", " !     Error: Unable to install dependencies using pip."],
        ["8.4/16.0"],
    ),
    "pip_wheel": (
        "build-error",
        "\N{MULTIPLICATION SIGN} Getting requirements to build wheel did not run successfully.",
        ["ModuleNotFoundError: No module named 'torch'", "ERROR: Failed to build 'torch_sparse'"],
        [],
    ),
    "pnpm_lockfile": (
        "build-error",
        'ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date',
        ["* 1 dependencies were added: zod@^3.23.8"],
        [],
    ),
    "poetry": (
        "build-error",
        "Error: Unable to install dependencies using Poetry.",
        ["pyproject.toml changed significantly since poetry.lock was last generated."],
        [],
    ),
    "procfile": (
        "build-error",
        " !     An error occurred when parsing Procfile",
        [" !   Error deploying the application"],
        ["Build succeeded"],
    ),
    "ruby_assets": (
        "build-error",
        "NameError: uninitialized constant Shop::Application::Basket (NameError)",
        [" !     Precompiling assets failed.", "… 42 more lines like these …", "Tasks: TOP => environment"],
        ["step5.rb"],
    ),
    "rust": (
        "build-error",
        "error[E0425]: cannot find function `vat` in this scope",
        ["  --> src/cart.rs:27:11", "error: could not compile `shop`"],
        ["20/40"],
    ),
    "stopped": (
        "build-error",
        "Your deployment has been stopped for security reason (rule: ABC-004)",
        ["Fetching source code"],
        [],
    ),
    "timeout": (
        "timeout-error",
        " !   → Timeout: shop took more than 60 seconds to boot",
        [" !   Error deploying the application"],
        ["Application Logs", "Documentation", "remote rejected", "failed to push", "Unmet dependencies"],
    ),
    "unknown_technology": (
        "build-error",
        "We didn't find the type of technology you are using...",
        ["Invalid return code from buildpack"],
        [],
    ),
    "uv": (
        "build-error",
        "\N{MULTIPLICATION SIGN} Failed to build `psycopg2==2.9.9`",
        ["Error: pg_config executable not found."],
        [],
    ),
    "yarn_lockfile": (
        "build-error",
        "error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.",
        [" !     Outdated Yarn lockfile"],
        [],
    ),
}


def output_named(name: str) -> str:
    written = (OUTPUTS / f"{name}.txt").read_text(encoding="utf-8")
    return written.replace("␛", ESC).replace("␍", "\r").replace("␈", "\b")


def numbered(start: int, end: int) -> str:
    return "".join(f"line {at}.\n" for at in range(start, end))


def tail_of(*chunks: bytes) -> Tail:
    kept = Tail()
    for chunk in chunks:
        kept.add(chunk)
    return kept


def test_every_output_is_in_the_table() -> None:
    assert sorted(CAUSES) == sorted(path.stem for path in OUTPUTS.glob("*.txt"))


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_begins_with_the_reason_and_fits_a_slack_message(name: str) -> None:
    status, first, contained, absent = CAUSES[name]
    found = cause(output_named(name), status)
    assert found.partition("\n")[0] == first
    assert [part for part in contained if part not in found] == []
    assert [part for part in absent if part in found] == []
    assert len(found) <= ERROR_LIMIT
    assert "\n\n\n" not in found


@pytest.mark.parametrize("name", CAUSES)
def test_every_line_of_the_cause_stands_in_the_output(name: str) -> None:
    shown = {line.lstrip("! ") for line in ["", *lines_shown(output_named(name))]}
    lines = cause(output_named(name), CAUSES[name][0]).split("\n")
    assert [line for line in lines if line.lstrip("! ") not in shown and "more lines like these" not in line] == []


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("", "build-error", ""),
        ("\n \n\t\n", "hook-error", ""),
        (numbered(0, 100), "aborted", numbered(100 - LAST_LINES, 100)),
        (numbered(0, 5), "some-new-error", numbered(0, 5)),
        (numbered(0, 50) + " !     Half way there\n" + numbered(50, 100), "aborted", numbered(60, 100)),
        (numbered(0, 100) + TIMEOUT, "timeout-error", TIMEOUT_FIRST),
        (
            numbered(0, 100) + FAILED_BUILDPACK,
            "build-error",
            "→ Invalid return code from buildpack\n\n" + numbered(100 - LINES_BEFORE, 100) + FAILED_BUILDPACK,
        ),
        (
            numbered(0, 9) + FAILED_BUILDPACK.replace("→", "->"),
            "build-error",
            "-> Invalid return code from buildpack\n\n" + numbered(0, 9) + FAILED_BUILDPACK.replace("→", "->"),
        ),
        # Words that are not known: the lines before them may explain them.
        (
            numbered(0, 50) + " !   Something new\n",
            "build-error",
            "Something new\n\n" + numbered(20, 50) + " !   Something new",
        ),
        (numbered(0, 50) + TIMEOUT, "hook-error", f"{REASON}\n\n{numbered(20, 50)}{TIMEOUT}"),
        # A buildpack's own message is not cut at its start, where its title is.
        (
            numbered(0, 9) + "".join(f" !     about {at}\n" for at in range(60)) + "\n" + FAILED_BUILDPACK,
            "build-error",
            "→ Invalid return code from buildpack\n\n"
            + "".join(f" !     about {at}\n" for at in range(60))
            + "\n"
            + FAILED_BUILDPACK,
        ),
        ("[postdeploy-1] a\nb\n[postdeploy-1] c failed\n" + TIMEOUT, "hook-error", HOOK_FAILED),
        ("[postdeploy-1] a\nb\n", "crashed-error", "[postdeploy-1] a\nb"),
        ("a\n  ValueError: no\nb\n", "build-error", "ValueError: no\n\na\n  ValueError: no\nb"),
    ],
)
def test_how_much_of_an_output_is_shown(text: str, status: str, expected: str) -> None:
    assert cause(text, status) == expected.strip("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10 %\r50 %\r100 %\ndone", "100 %\ndone"),
        ("Downloading 100 %\rDone\x1b[K\n", "Done"),
        ("a\r\nb\r\n", "a\nb"),
        ("0%\b\b50%\b\b\b100%", "100%"),
        ("\b\bstart", "start"),
        (f"one{ESC}[2K{ESC}[1Gerror two", "error two"),
        (f"one{ESC}[1K two", "    two"),
        (f"abc{ESC}[2Dx", "axc"),
        (f"abc\r{ESC}[1Cx", "axc"),
        (f"a: Waiting\nb: Waiting\n{ESC}[2A{ESC}[2Ka: Complete\n{ESC}[2Kb: Complete\n", "a: Complete\nb: Complete"),
        (f"a\nb\nc{ESC}[2F{ESC}[JA\nD", "A\nD"),
        (f"a\nb{ESC}[A{ESC}[BC{ESC}[Ed", "a\ndC"),
        (f"the cause\n{ESC}[2J{ESC}[3J{ESC}[Hwatching", "the cause\nwatching"),
        (f"{ESC}[1;31mred{ESC}[0m {ESC}]0;title\x07and{ESC}]8;;https://a.example{ESC}\\ link", "red and link"),
        (f"{ESC}[31mred{ESC}[0m\rb", "bed"),
        ("⠋ Building 1.0s\n⠙ Building 1.5s\n⠹ Building 12.0s\n✓ Built", "⠹ Building 12.0s\n✓ Built"),
        ("\n\na\n\n  \n\nb\n\n", "a\n\nb"),
        ("same\nsame\n", "same\nsame"),
        (f"{ESC}[9999Cx{ESC}[9999By{ESC}[9999Gz{ESC}[99999999Aw", "xyzw"),
        ("x" * 600, "x" * (LONGEST_LINE - 100) + " … " + "x" * 90),
    ],
)
def test_a_log_is_read_as_a_terminal_shows_it(text: str, shown: str) -> None:
    assert tail(text) == shown


def test_a_hook_that_prints_much_still_shows_its_reason_first_when_it_is_cut() -> None:
    lines = [f"[postdeploy-7] {at} rows copied" for at in range(2_000)]
    lines[1_000] = "[postdeploy-7] IntegrityError: duplicate key"
    cut = cut_error(cause("\n".join(lines), "hook-error"))
    assert cut.startswith(lines[1_000])
    assert cut.endswith(lines[-1])


def test_a_tail_keeps_the_last_64_kB_without_the_torn_line() -> None:  # noqa: N802
    whole = numbered(0, 20_000).encode()
    kept = tail_of(whole)
    assert kept.is_cut
    assert whole.decode().endswith("\n" + kept.text())
    assert KEPT_BYTES - 20 < len(kept.text()) < KEPT_BYTES
    assert not tail_of(whole[:KEPT_BYTES]).is_cut
    assert tail_of(whole[:KEPT_BYTES]).text() == whole[:KEPT_BYTES].decode()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (b"", ""),
        ("é".encode() * KEPT_BYTES, "é" * (KEPT_BYTES // 2)),
        (b"x" + "é".encode() * KEPT_BYTES + b"!", "é" * (KEPT_BYTES // 2 - 1) + "!"),  # torn at the start
        ("done ✓".encode()[:-1], "done "),  # torn at the end
        (b"caf\xe9 \xff", "caf\ufffd \ufffd"),  # not UTF-8
    ],
)
def test_a_tail_has_no_torn_characters(output: bytes, text: str) -> None:
    assert tail_of(output).text() == text


def test_a_tail_of_a_large_output_takes_little_memory() -> None:
    chunk, kept = b"progress\r" * 1_000, Tail()
    tracemalloc.start()
    try:
        for _ in range(5_000):  # 45 MB
            kept.add(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * KEPT_BYTES


pieces = st.sampled_from(
    [
        *(f"{ESC}[{times}{letter}" for letter in "ABCDEFGJKm" for times in ("", 1, 2, 99)),
        *(
            f"{FAILED_BUILDPACK}{TIMEOUT}[postdeploy-1] ✓\n⠋ 1\n⠙ 2\r\n\b\x00\x9b\u202e{ESC}]8;".splitlines(
                keepends=True
            )
        ),
        "at f (x)\n" * 9,
        "x" * 3_000,
        "\n",
    ]
)
logs = st.lists(pieces | st.text(max_size=5) | st.binary(max_size=5), max_size=60).map(
    lambda parts: b"".join(part if isinstance(part, bytes) else encodable(part).encode() for part in parts)
)
statuses = st.sampled_from(["build-error", "crashed-error", "timeout-error", "hook-error", "aborted", "new"])


@given(logs, st.lists(st.integers(0, 300_000)), statuses)
def test_any_bytes_in_any_chunks_give_the_same_safe_and_short_text(log: bytes, cuts: list[int], status: str) -> None:
    at = [0, *sorted(cuts), len(log)]
    kept = tail_of(*(log[start:end] for start, end in pairwise(at)))
    whole = tail_of(log)
    assert (kept.text(), kept.is_cut) == (whole.text(), whole.is_cut)
    for text in (cause(whole.text(), status), tail(whole.text())):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert len(text) < 2 * KEPT_BYTES
        assert max(map(len, text.split("\n"))) <= LONGEST_LINE
    assert len(tail(whole.text()).split("\n")) < 2 * LAST_LINES
