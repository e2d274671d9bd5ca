"""Logs: one structured line per event, on standard output, as JSON or as text.

Both forms quote and escape texts from outside, so that none can forge a line. A line that cannot be written is lost.
"""

import io
import json
import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

from config.settings import Settings

_JSON = json.JSONEncoder(default=repr)  # json.dumps would make one for each line


class _BestEffort(io.TextIOBase):
    """Writes to a stream, and ignores what fails: a full disk, a reader that has gone, a closed stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)


def configure(settings: Settings) -> None:
    """Set up structlog and the standard library's logging for this process."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    renderer: structlog.typing.Processor = (
        (lambda _logger, _name, event: _JSON.encode(event))
        if settings.log_format == "json"
        else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"], drop_missing=True)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    output = cast(TextIO, _BestEffort(sys.stdout))
    structlog.configure(
        processors=[*shared, _without_empty, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    bare = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[bare, renderer]))
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    # Below WARNING these log whole requests, URLs and headers. Some URLs are secrets.
    for chatty in ("aiohttp", "asyncio", "rq", "slack_sdk", "urllib3"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def _without_empty(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return {key: value for key, value in event.items() if value is not None}
