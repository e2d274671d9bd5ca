"""Callers are told apart by whole tokens, in constant time."""

import ast
import inspect
import textwrap

from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.auth import caller_of

TOKENS = {name: SecretStr(name * 24) for name in ("a", "b", "c")}


@given(st.sampled_from(sorted(TOKENS)))
def test_each_token_has_its_caller(name: str) -> None:
    assert caller_of(name * 24, TOKENS) == name


@given(st.text())
@example("a" * 23)
@example("a" * 25)
@example("")
@example("\ud800")
@example("a" * 23 + "\u0430")
def test_any_other_text_has_none(text: str) -> None:
    if text not in {token.get_secret_value() for token in TOKENS.values()}:
        assert caller_of(text, TOKENS) is None


def test_every_token_is_compared_in_constant_time_whichever_matches() -> None:
    function = ast.parse(textwrap.dedent(inspect.getsource(caller_of)))
    (loop,) = (node for node in ast.walk(function) if isinstance(node, ast.For))
    early = (ast.Break, ast.Continue, ast.Return, ast.Raise, ast.Yield)
    assert not [node for node in ast.walk(loop) if isinstance(node, early)]  # all tokens, not those up to the right one
    assert not [node for node in ast.walk(function) if isinstance(node, ast.Compare | ast.Match)]
    calls = [ast.unparse(node.func) for node in ast.walk(loop) if isinstance(node, ast.Call)]
    assert calls.count("hmac.compare_digest") == 1
