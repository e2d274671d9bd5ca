"""The times that are believed."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, Field

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Beyond these no time is stored, or believed: adding to it could leave what a datetime can hold."""

Moment = Annotated[AwareDatetime, Field(ge=EARLIEST, lt=LATEST)]
