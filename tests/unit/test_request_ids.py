"""The id of a request: the caller's own if it is safe."""

import re

import pytest
from hypothesis import given

from config.web import request_id_of
from tests.unit.strategies import a_text


@pytest.mark.parametrize("given_id", ["a", "0", "deploy-42", "f058ebd6-02f7-4d3f-942e-904344e8", "A.b_C-1", "x" * 64])
def test_a_sane_id_is_kept(given_id: str) -> None:
    assert request_id_of(given_id) == given_id


@pytest.mark.parametrize(
    "given_id", [None, "", " ", "x" * 65, "a b", "a\n", "a\r\nb", "é", "٣", "a'b", 'a"b', "a{b", "a/b", "a=b", "a\x00"]
)
def test_without_a_sane_one_an_id_is_made(given_id: str | None) -> None:
    made = request_id_of(given_id)
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    assert request_id_of(given_id) != made


@given(a_text())
def test_whatever_is_sent_the_id_can_stand_in_a_line(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", request_id_of(text), re.ASCII)
