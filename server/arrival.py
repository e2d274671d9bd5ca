"""Whether an HTTP request has arrived whole. Pure: bytes go in, in any cut, and what they amount to comes out.

Only where a request ends is found out here. Whether it is well formed the server's parser says, which gets the same
bytes and never more: where the two disagree, it finds the request broken off. https://www.rfc-editor.org/rfc/rfc9112
"""

import re
from enum import Enum, auto

from config.web import LARGEST_BODY_BYTES

LARGEST_HEAD_BYTES = 16 * 1024
LARGEST_FRAMING_BYTES = 4 * 1024
"""What a chunked body may spend on the sizes and ends of its chunks; each costs the parser a copy of all behind it."""

_LONGEST_SIZE_LINE_BYTES = 256
_LARGEST_TRAILERS_BYTES = 4 * 1024
_END_OF_LINE = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_AUTHORIZATION = re.compile(rb"\r\nauthorization:([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class Progress(Enum):
    """How far a request has come."""

    HEAD = auto()
    """Not even its head has ended."""
    BODY = auto()
    """Its head has."""
    WHOLE = auto()
    UNFIT = auto()
    """Larger than what is taken, or badly framed: nothing that may follow makes it better."""
    UNKNOWN_CODING = auto()
    """It is coded in another way than in chunks."""
    LONG_HEAD = auto()
    """The head is larger than what is taken."""


class Arrival:
    """One request as it arrives."""

    def __init__(self) -> None:
        self.progress = Progress.HEAD
        self.awaits_continue = False
        """The client said `Expect: 100-continue`: it may be waiting for a word before it sends the body."""
        self._buffer = bytearray()
        self._seen = 0  # what lies before was searched already
        self._end: int | None = None  # of a request whose length is known
        self._body_at = 0
        self._at = 0  # where the next line of the chunked framing begins
        self._framing = 0
        self._body = 0  # bytes of it in the chunks before `_at`
        self._last_chunk = False

    def feed(self, data: bytes) -> Progress:
        """Take in what has come next."""
        self._buffer += data
        if self.progress is Progress.HEAD:
            self._read_head()
        if self.progress is Progress.BODY:
            self._read_body()
        return self.progress

    @property
    def empty(self) -> bool:
        """Whether nothing has come yet."""
        return not self._buffer

    @property
    def request(self) -> bytes:
        """The bytes of the request, as far as they have come."""
        return bytes(self._buffer[: self._end])

    @property
    def checks_health(self) -> bool:
        """Whether this is what a router asks to learn whether the process is alive."""
        return self._buffer.startswith((b"GET /healthz ", b"HEAD /healthz "))

    @property
    def authorization(self) -> str:
        """The value of the header `Authorization`, empty where there is none."""
        found = _AUTHORIZATION.search(self._buffer, 0, self._body_at)
        return found[1].decode("latin-1").strip() if found else ""

    @property
    def rest(self) -> bytes:
        """What came behind a whole request: the beginning of the next one."""
        return b"" if self._end is None else bytes(self._buffer[self._end :])

    def _read_head(self) -> None:
        start = 2 if self._buffer.startswith(_END_OF_LINE) else 0  # one empty line before it is passed over
        most = LARGEST_HEAD_BYTES + len(_END_OF_HEAD)
        end = self._buffer.find(_END_OF_HEAD, max(start, self._seen - 3), most)
        if _BARE_LF.search(self._buffer, self._seen, most if end < 0 else end):
            self.progress = Progress.UNFIT  # such a head would never end
        elif end >= 0:
            self._begin_body(end + len(_END_OF_HEAD), bytes(self._buffer[start:end]).split(_END_OF_LINE))
        elif len(self._buffer) >= most:
            self.progress = Progress.LONG_HEAD
        self._seen = len(self._buffer)

    def _begin_body(self, at: int, lines: list[bytes]) -> None:
        fields = [
            (name.lower(), value.strip(b" \t").lower()) for name, _, value in (li.partition(b":") for li in lines)
        ]
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        self.awaits_continue = (b"expect", b"100-continue") in fields and lines[0].endswith(b"HTTP/1.1")
        self._at = self._body_at = at
        self.progress = Progress.BODY
        if codings:
            if lengths:
                self.progress = Progress.UNFIT
            elif codings != [b"chunked"]:
                self.progress = Progress.UNKNOWN_CODING
        elif not lengths:
            self._end = at
        elif len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > LARGEST_BODY_BYTES:
            self.progress = Progress.UNFIT
        else:
            self._end = at + int(lengths[0])

    def _read_body(self) -> None:
        if self._end is None:
            self._read_chunks()
        elif len(self._buffer) >= self._end:
            self.progress = Progress.WHOLE

    def _read_chunks(self) -> None:
        while self.progress is Progress.BODY and self._end is None:
            if self._last_chunk:
                if not self._read_trailers():
                    return
            elif not self._read_chunk():
                return

    def _read_chunk(self) -> bool:
        """Pass over one chunk; tells whether it is there whole."""
        line_end = self._line_end(_END_OF_LINE, _LONGEST_SIZE_LINE_BYTES)
        if line_end is None:
            return False
        size = _CHUNK_SIZE.fullmatch(self._buffer[self._at : line_end])
        if size is None:
            self.progress = Progress.UNFIT
            return False
        length = int(size[1], 16)
        data = line_end + 2
        if length == 0:
            self._last_chunk, self._at = True, data
            return True
        if self._body + min(length, len(self._buffer) - data) > LARGEST_BODY_BYTES:
            self.progress = Progress.UNFIT
            return False
        end = data + length
        if not _END_OF_LINE.startswith(self._buffer[end : end + 2]):
            self.progress = Progress.UNFIT
        if len(self._buffer) < end + 2:
            return False
        self._framing += end + 2 - self._at - length
        self._body += length
        self._at = end + 2
        if self._framing > LARGEST_FRAMING_BYTES:
            self.progress, self._end = Progress.UNFIT, self._at  # the rest would only cost the parser its time
        return True

    def _read_trailers(self) -> bool:
        if self._buffer.startswith(_END_OF_LINE, self._at):
            self._end = self._at + 2
        else:
            end = self._line_end(_END_OF_HEAD, _LARGEST_TRAILERS_BYTES)
            if end is None:
                return False
            self._end = end + len(_END_OF_HEAD)
        self.progress = Progress.WHOLE
        return True

    def _line_end(self, terminator: bytes, most: int) -> int | None:
        """Find where what begins at `_at` ends; None, and perhaps UNFIT, where it does not within `most` bytes."""
        beyond = self._at + most + len(terminator)
        end = self._buffer.find(terminator, self._at, beyond)
        if end < 0 and len(self._buffer) >= beyond:
            self.progress = Progress.UNFIT
        return None if end < 0 else end
