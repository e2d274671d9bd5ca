"""Where a request ends: the same in any cut, and the same as the server's own parser finds."""

from itertools import pairwise

import pytest
from gunicorn import http
from gunicorn.config import Config
from hypothesis import example, given
from hypothesis import strategies as st

from config.web import LARGEST_BODY_BYTES
from server.arrival import LARGEST_FRAMING_BYTES, LARGEST_HEAD_BYTES, Arrival, Progress

HEAD = b"POST /v1/operations HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

pieces = st.sampled_from(
    [
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"3;x=y\r\nabc\r\n",
        b"2\r\nabc\r\n",
        b"zz\r\n",
        b"Trailer: x\r\n",
        b"abc",
        b"Content-Length: 3\r\n",
        b"Content-Length: 65537\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"GET /healthz HTTP/1.1\r\n",
        b"x" * 300,
        b"y" * 5_000,
        b"8000\r\n" + b"z" * 0x8000 + b"\r\n",
    ]
)
streams = st.builds(
    lambda start, parts: start + b"".join(parts),
    st.sampled_from([b"", HEAD, CHUNKED, HEAD + b"Content-Length: 5\r\n\r\n"]),
    st.lists(pieces, max_size=12),
)


def arrived(*parts: bytes) -> Arrival:
    """Feed the parts as the worker does: nothing behind the end of a request."""
    arrival = Arrival()
    for number, part in enumerate(parts):
        if arrival.feed(part) not in (Progress.HEAD, Progress.BODY):
            rest = b"".join(parts[number + 1 :])
            arrival.feed(rest)
            break
    return arrival


@given(streams, st.lists(st.integers(0, 40_000), max_size=8))
def test_a_request_ends_at_the_same_place_in_any_cut(stream: bytes, cuts: list[int]) -> None:
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    whole, cut = arrived(stream), arrived(*(stream[a:b] for a, b in pairwise(at)))
    assert (cut.progress, cut.awaits_continue) == (whole.progress, whole.awaits_continue)
    assert (cut.request, cut.rest) == (whole.request, whole.rest)


@given(streams.filter(lambda stream: len(stream) < 2_000))
def test_a_request_ends_at_the_same_place_byte_by_byte(stream: bytes) -> None:
    whole, dripped = arrived(stream), arrived(*(bytes([byte]) for byte in stream))
    assert (dripped.progress, dripped.request, dripped.rest) == (whole.progress, whole.request, whole.rest)


@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 70), max_size=5),
    st.binary(max_size=20),
    st.sampled_from([b"", b";a", b" ; a=b"]),
    st.sampled_from([b"", b"X-Sum: 1\r\n"]),
)
@example(b"GET", [], b"", b"", b"")
def test_the_servers_parser_takes_a_whole_request_to_its_last_byte(
    body: bytes, sizes: list[int], behind: bytes, extension: bytes, trailer: bytes
) -> None:
    chunks, at = [], 0
    for size in [*sizes, len(body)]:
        if part := body[at : at + size]:
            chunks.append(b"%x%s\r\n%s\r\n" % (len(part), extension, part))
        at += size
    for request, its_body in (
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body, body),
        (CHUNKED + b"".join(chunks) + b"0\r\n" + trailer + b"\r\n", body),
        (b"\r\nGET / HTTP/1.0\r\n\r\n", b""),
    ):
        arrival = arrived(request + behind)
        assert (arrival.progress, arrival.request, arrival.rest) == (Progress.WHOLE, request, behind)
        parser = http.get_parser(Config(), [arrival.request], ("127.0.0.1", 1))
        assert next(parser).body.read() == its_body
        assert parser.unreader.take_buffered() == b""


@pytest.mark.parametrize(
    ("stream", "progress"),
    [
        (b"", Progress.HEAD),
        (HEAD, Progress.HEAD),
        (HEAD + b"\r\n", Progress.WHOLE),
        (HEAD + b"Content-Length: 5\r\n\r\nabcd", Progress.BODY),
        (HEAD + b"content-length:5\r\n\r\nabcde", Progress.WHOLE),
        (HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST_BODY_BYTES, Progress.BODY),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (LARGEST_BODY_BYTES + 1), Progress.UNFIT),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", Progress.UNFIT),
        (HEAD + b"Content-Length: -1\r\n\r\n", Progress.UNFIT),
        (HEAD + b"Content-Length: 1e3\r\n\r\n", Progress.UNFIT),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Progress.UNFIT),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", Progress.UNKNOWN_CODING),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\n", Progress.UNKNOWN_CODING),
        (b"GET / HTTP/1.1\nHost: x\n\n", Progress.UNFIT),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * LARGEST_HEAD_BYTES, Progress.LONG_HEAD),
        (CHUNKED, Progress.BODY),
        (CHUNKED + b"0\r\n", Progress.BODY),
        (CHUNKED + b"0\r\n\r\n", Progress.WHOLE),
        (CHUNKED + b"0\r\nX: y\r\n\r\n", Progress.WHOLE),
        (CHUNKED + b"\r\n", Progress.UNFIT),
        (CHUNKED + b"1\r\nab", Progress.UNFIT),
        (CHUNKED + b"1;" + b"x" * 300, Progress.UNFIT),
        (CHUNKED + b"0\r\n" + b"x" * 5_000, Progress.UNFIT),
        (CHUNKED + b"1\r\na\r\n" * (LARGEST_FRAMING_BYTES // 5 + 1), Progress.UNFIT),
        (CHUNKED + b"%x\r\n" % LARGEST_BODY_BYTES + b"x" * LARGEST_BODY_BYTES + b"\r\n0\r\n\r\n", Progress.WHOLE),
        (CHUNKED + b"fffffffffff\r\n" + b"x" * LARGEST_BODY_BYTES, Progress.BODY),
        (CHUNKED + b"fffffffffff\r\n" + b"x" * (LARGEST_BODY_BYTES + 1), Progress.UNFIT),
    ],
)
def test_how_far_a_request_has_come(stream: bytes, progress: Progress) -> None:
    assert arrived(stream).progress is progress


def test_who_calls_is_told_before_the_app_has_it() -> None:
    signed = arrived(
        b"GET /v1/operations HTTP/1.1\r\nHost: x\r\naUTHORIZATION:  Bearer abc \r\n\r\nauthorization: x\r\n\r\n"
    )
    assert (signed.authorization, signed.checks_health) == ("Bearer abc", False)
    unsigned = arrived(HEAD + b"Content-Length: 22\r\n\r\n\r\nauthorization: Bearer x")
    assert not unsigned.authorization  # it stands in the body
    assert arrived(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").checks_health
    assert not arrived(b"GET /healthz2 HTTP/1.1\r\nHost: x\r\n\r\n").checks_health


def test_the_word_a_client_waits_for_is_due_once_the_head_has_come() -> None:
    expecting = HEAD + b"Expect: 100-Continue\r\nContent-Length: 5\r\n"
    assert not arrived(expecting).awaits_continue
    assert arrived(expecting, b"\r\n").awaits_continue
    assert not arrived(expecting.replace(b"HTTP/1.1", b"HTTP/1.0"), b"\r\n").awaits_continue
