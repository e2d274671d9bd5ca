"""Parses the URL of whatever is tracked, and builds its paths anew. Pure.

A bearer must never be sent to a host that a caller named, so only the region, the kind and the ids of a URL are kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from operations.kind import Kind
from scalingo.api_kind import ID_PATTERN
from scalingo.database import BACKUP, DATABASE
from scalingo.deployment import DEPLOYMENT, OTHER_ID
from scalingo.operation import OPERATION

OFFICIAL_REGIONS = {
    "osc-fr1": "https://api.osc-fr1.scalingo.com",
    "osc-secnum-fr1": "https://api.osc-secnum-fr1.scalingo.com",
}
"""https://developers.scalingo.com/index#regions-endpoints"""

OFFICIAL_DATABASE_APIS = {region: f"https://db-api.{region}.scalingo.com" for region in OFFICIAL_REGIONS}
"""https://developers.scalingo.com/databases/"""

LONGEST_URL = 500
API_KINDS = {
    Kind.OPERATION: OPERATION,
    Kind.DEPLOYMENT: DEPLOYMENT,
    Kind.DATABASE: DATABASE,
    Kind.BACKUP: BACKUP,
}
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a URL says of a thing: its region, kind and own id, and its app or addon if it names them.

    `app` is the app's name or, as long as no name is known, its id of 24 hex digits, which is then `app_id` too.
    `by_addon`: the path names the addon.
    """

    region: str
    kind: Kind
    thing_id: str
    app: str | None = None
    app_id: str | None = None
    addon_id: str | None = None
    by_addon: bool = False

    @property
    def tracking_id(self) -> str:
        """The id of its tracking."""
        return f"{self.region}-{API_KINDS[self.kind].id_prefix}{self.thing_id}"


def parse_url(
    url: str, regions: Mapping[str, str], database_apis: Mapping[str, str] = OFFICIAL_DATABASE_APIS
) -> Address:
    """Parse a URL. Raises ValueError, with the reason, if it is not one of a configured region.

    `regions` and `database_apis` map region names to base URLs. The official hosts are also known. `http://` is
    accepted, since Scalingo's own documentation shows it, but never dialled.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or set(url) & set(" \\?#"):
        message = "is not a URL of a Scalingo operation, deployment or backup"
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
    in_database = parts.path.startswith("/api/")
    official = OFFICIAL_DATABASE_APIS if in_database else OFFICIAL_REGIONS
    region = _region_of(host, port, database_apis if in_database else regions, official)
    if region is None:
        message = f"names a host that is not configured here ({host[:100]}); configured regions: {', '.join(regions)}"
        raise ValueError(message)
    if OTHER_ID.fullmatch(parts.path):
        message = "has the deployment's other id: give its uuid, which stands in its `id` and `links.output`"
        raise ValueError(message)
    for kind, api_kind in API_KINDS.items():
        if path := re.fullmatch(api_kind.url_path, parts.path):
            named = path.groupdict()
            app, addon_id = named.get("app"), named.get("addon")
            return Address(
                region=region,
                kind=kind,
                thing_id=named["id"],
                app=app,
                app_id=app if app is not None and re.fullmatch(ID_PATTERN, app) else None,
                addon_id=addon_id,
                by_addon=addon_id is not None,
            )
    message = (
        "must end in /v1/apps/<app>/operations/<id> (24 hex digits), in /v1/apps/<app>/deployments/<uuid>, or in"
        " /api/…/operations/<id> or /api/…/backups/<id> of the database API"
    )
    raise ValueError(message)


def logs_page(region: str, kind: Kind, app: str) -> str:
    """Return the page of Scalingo's dashboard with the logs of an app, or its deployments and their output."""
    return f"https://dashboard.scalingo.com/apps/{region}/{app}/{'deploy/list' if kind is Kind.DEPLOYMENT else 'logs'}"


def _region_of(host: str, port: int | None, bases: Mapping[str, str], official: Mapping[str, str]) -> str | None:
    # Configured hosts first: they override official ones. The default ports of both schemes are equal.
    for region, base_url in [*bases.items(), *official.items()]:
        if region in bases and _host_and_port(urlsplit(base_url)) == (host, port):
            return region
    return None


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    port = parts.port
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme.lower())
    return (parts.hostname or ""), None if default else port
