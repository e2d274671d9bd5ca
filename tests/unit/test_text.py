"""Texts from outside, made safe."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.slack.blocks import slack_length
from operations.text import (
    CUT_MARK,
    cut_middle,
    encodable,
    few_lines,
    first_line,
    json_bytes,
    plain,
    url_fault,
    whole_lines,
)
from tests.unit.strategies import a_text

ESC = "\x1b"
SIZES = (len, json_bytes, slack_length)
Size = Callable[[str], int]

long_texts = st.builds(lambda text, times: text * times, a_text(), st.integers(1, 200))


@given(long_texts | st.text(), st.integers(0, 400), st.sampled_from(SIZES))
def test_a_cut_text_keeps_to_its_limit_and_keeps_head_and_tail(text: str, room: int, size: Size) -> None:
    limit = size(CUT_MARK) + room  # no limit is below the length of the mark
    cut = cut_middle(text, limit, size)
    assert size(cut) <= limit
    if size(text) <= limit:
        assert cut == text
        return
    head, tail = cut[: (len(cut) - len(CUT_MARK)) // 2], cut[(len(cut) + len(CUT_MARK)) // 2 :]
    assert cut == head + CUT_MARK + tail
    assert text.startswith(head)
    assert text.endswith(tail)
    longer = text[: len(head) + 1] + CUT_MARK + text[len(text) - len(tail) - 1 :]
    assert size(longer) > limit or 2 * (len(head) + 1) > len(text), "as much as fits is kept"


@given(st.text())
def test_json_bytes_are_those_of_the_text_inside_a_document(text: str) -> None:
    text = encodable(text)
    assert json_bytes(text) == len(json.dumps([text], ensure_ascii=False).encode()) - 4


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        (f"{ESC}[31mred{ESC}[0m", "red"),
        (f"{ESC}[38;5;196mred{ESC}[m", "red"),
        (f"{ESC}[2K{ESC}[1Gline", "line"),
        (f"{ESC}[?25lhidden{ESC}[?25h", "hidden"),
        ("\x9b31mred", "red"),
        (f"{ESC}]0;title\x07text", "text"),
        (f"{ESC}]8;;https://a.example{ESC}\\link{ESC}]8;;{ESC}\\", "link"),
        (f"{ESC}(B{ESC}[mreset by tput", "reset by tput"),
        (f"{ESC}7saved{ESC}8", "saved"),
        (f"{ESC}=keypad{ESC}>", "keypad"),
        (f"{ESC}creset", "reset"),
        (f"{ESC}Mup", "up"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("bell\x07 null\x00 delete\x7f next\x85", "bell null delete next"),
        ("right\u202eleft\u2066in\u2069\u200e\u200f", "rightleftin"),
        ("tab\tand\nnewline", "tab\tand\nnewline"),
        ("é 🎉 日本 👨\u200d👩 क्\u200cष", "é 🎉 日本 👨\u200d👩 क्\u200cष"),
        ("\u061ca\xadb\u200bc\u2060d\ufeffe\U000e0041", "abcde"),
        ("one\u2028two\u2029three", "one\ntwo\nthree"),
        *((f"{ESC}{kind}hidden{end}shown", "shown") for kind in "]PX^_" for end in ("\x07", f"{ESC}\\", "\x9c")),
        *((f"{kind}hidden{end}shown", "shown") for kind in "\x9d\x90\x98\x9e\x9f" for end in ("\x07", "\x9c")),
    ],
)
def test_colours_and_control_characters_are_stripped(dirty: str, clean: str) -> None:
    assert plain(dirty) == clean


BEGINNINGS = [
    *(
        f"{ESC}{each}"
        for each in ("", "[", "]", "P", "X", "^", "_", "]0;", "]8;;", "[38;5;", "[" + "1;" * 99, "(", "#")
    ),
    *"\x9b\x9d\x90\x98\x9e\x9f\x9c",
    f"{ESC}]8;;https://ci.example/{ESC}",
]


@pytest.mark.parametrize("torn", BEGINNINGS)
def test_an_unfinished_sequence_hides_nothing(torn: str) -> None:
    for end in ("\n", "\r\n", "\u2028", CUT_MARK, "\x85\n", f"{ESC}[0m\n", f"é{ESC}[0m"):
        shown = plain(f"before {torn}{end}FATAL: the cause\nafter {torn}")
        assert shown.startswith("before ")
        assert "FATAL: the cause\nafter" in shown


def test_many_beginnings_take_no_longer_than_any_text() -> None:
    for torn in BEGINNINGS:
        assert plain((torn * 100_000)[:100_000] + "\nthe cause").endswith("the cause")


_codes = st.sampled_from([*f"{ESC}[]P\x9b\x9d\x9c\x07\\;\r\n\x00\u202e\u2028x", "31m", "(B"])


@given(st.text() | st.lists(_codes).map("".join))
def test_a_plain_text_holds_no_control_character_and_stays_as_it_is(text: str) -> None:
    once = plain(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", once)
    assert not set(once) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert plain(once) == once


@given(st.text())
def test_what_utf8_cannot_carry_is_replaced_and_the_rest_kept(text: str) -> None:
    result = encodable(text)
    assert result.encode().decode() == result
    assert len(result) == len(text)
    assert all(a == b or "\ud800" <= a <= "\udfff" for a, b in zip(text, result, strict=True))


@pytest.mark.parametrize(
    ("text", "line"),
    [("", ""), ("\n \t\n", ""), ("\n\n  boom \nmore", "boom"), ("x" * 10, "x" * 10), ("x" * 11, "x" * 9 + "…")],
)
def test_the_first_line_is_the_first_that_says_something(text: str, line: str) -> None:
    assert first_line(text, 10) == line


@given(st.text(), st.integers(1, 50))
def test_a_first_line_is_one_line_and_within_its_limit(text: str, limit: int) -> None:
    line = first_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("cut", "shown"),
    [
        ("never cut\nat all", "never cut\nat all"),
        (f"first\nhal{CUT_MARK}lf\nlast", f"first{CUT_MARK}last"),
        (f"one line{CUT_MARK}of text", f"one line{CUT_MARK}of text"),
        (f"first\n{'x' * 199}{CUT_MARK}{'y' * 199}\nlast", f"first{CUT_MARK}last"),
        (f"first\n{'x' * 200}{CUT_MARK}{'y' * 200}\nlast", f"first\n{'x' * 200}{CUT_MARK}{'y' * 200}\nlast"),
        (f"\n{CUT_MARK}\n", f"\n{CUT_MARK}"),
    ],
)
def test_what_is_left_of_a_line_beside_a_cut_is_dropped_where_it_is_short(cut: str, shown: str) -> None:
    assert whole_lines(cut) == shown


HTTPS = "https://a.example"


@pytest.mark.parametrize(
    ("at", "said"), [(None, "… 8 lines …"), (5, "… more than 8 lines …"), (1, "… 9 lines …"), (19, "… 9 lines …")]
)
def test_the_number_of_missing_lines_is_a_minimum_if_some_were_cut_before(at: int | None, said: str) -> None:
    lines = [str(number) for number in range(20)]
    if at is not None:
        lines.insert(at, CUT_MARK.strip())
    shown = few_lines("\n".join(lines)).split("\n")
    assert shown == [*lines[:3], said, *lines[-9:]]


@pytest.mark.parametrize(
    "url", [HTTPS, "HTTPS://a.example/x", "https://[2001:db8::1]:8443/x?y=z#top", "https://u:p@a.example/é"]
)
def test_a_url_of_the_web_is_usable(url: str) -> None:
    assert url_fault(url) is None
    assert url_fault(url, https_only=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "a.example", "//a.example", "ftp://a.example", "javascript:alert(1)", "https://", "https:///x",
        "https:a.example", "https://:443/", "https://a.example:0/", "https://a.example:99999/", "https://a.example:x/", "https://[::1/",
        f" {HTTPS}", f"{HTTPS}/ x", f"{HTTPS}/\n", f"{HTTPS}/\x7f", f"{HTTPS}/\u202e", f"{HTTPS}/|x", f"{HTTPS}/<x>",
    ],
)  # fmt: skip
def test_anything_else_is_not(url: str) -> None:
    fault = url_fault(url)
    assert fault == "must be a URL that begins with https://"


def test_what_is_not_encrypted_can_be_refused() -> None:
    assert url_fault("http://a.example") is None
    assert "OPWATCH_ALLOW_PRIVATE_TARGETS=true" in (url_fault("HTTP://a.example", https_only=True) or "")


@pytest.mark.parametrize("url", [f"{HTTPS}/?x", f"{HTTPS}/#x", "https://u@a.example"])
def test_what_is_extended_by_a_path_ends_with_one(url: str) -> None:
    assert url_fault(f"{HTTPS}:8443/x/y", base=True) is None
    assert url_fault(url, base=True) == "must be a URL without user name, query and fragment"
