"""Where an operation lives: a caller's URL taken apart, and ours built on a configured host only. Pure.

A bearer must never go to a host that a caller named, so nothing of `operation_url` is kept but region, app and id.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

APP_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
OPERATION_ID_PATTERN = r"^[0-9a-f]{24}$"
OFFICIAL_REGIONS = {
    "osc-fr1": "https://api.osc-fr1.scalingo.com",
    "osc-secnum-fr1": "https://api.osc-secnum-fr1.scalingo.com",
}
"""https://developers.scalingo.com/index#regions-endpoints"""

_PATH = re.compile(r"/v1/apps/([a-z0-9][a-z0-9-]{0,63})/operations/([0-9a-f]{24})/?")
_DEFAULT_PORTS = {"https": 443, "http": 80}
LONGEST_URL = 500


@dataclass(frozen=True, slots=True)
class OperationAddress:
    """Which operation, in our own words."""

    region: str
    app: str
    operation_id: str


def parse(url: str, regions: Mapping[str, str]) -> OperationAddress:
    """Take an operation's URL apart; raises ValueError, saying why, when it is not one of a configured region.

    `regions` maps names to base URLs. Official hosts are known besides; `http://` in place of `https://` is accepted,
    since Scalingo's own documentation shows it, but never dialled.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or set(url) & set(" \\?#"):
        message = "is not a URL as Scalingo writes it"
        raise ValueError(message)
    try:
        parts = urlsplit(url)
        host, port = _host_and_port(parts)
    except ValueError:
        message = "is not a URL"
        raise ValueError(message) from None
    if parts.scheme.lower() not in _DEFAULT_PORTS or "@" in parts.netloc:
        message = "must look like https://api.<region>.scalingo.com/v1/apps/<app>/operations/<id>"
        raise ValueError(message)
    region = _region_of(host, port, regions)
    if region is None:
        message = f"names a host that is not configured here ({host[:100]}); there are the regions {', '.join(regions)}"
        raise ValueError(message)
    path = _PATH.fullmatch(parts.path)
    if path is None:
        message = "must end in /v1/apps/<app>/operations/<id>, the id being 24 hex digits"
        raise ValueError(message)
    return OperationAddress(region=region, app=path[1], operation_id=path[2])


def operation_url(base_url: str, app: str, operation_id: str) -> str:
    """Build the URL to ask, from a configured base and parts that were validated."""
    return f"{base_url}/v1/apps/{app}/operations/{operation_id}"


def _region_of(host: str, port: int | None, regions: Mapping[str, str]) -> str | None:
    # Configured hosts first: an override stands for its region. Both schemes' default ports count as the same.
    for region, base_url in [*regions.items(), *OFFICIAL_REGIONS.items()]:
        if region in regions and _host_and_port(urlsplit(base_url)) == (host, port):
            return region
    return None


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    port = parts.port
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme.lower())
    return (parts.hostname or ""), None if default else port
