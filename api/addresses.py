"""Finds out what a request wants to be tracked: its kind, region, app and ids."""

from dataclasses import replace
from typing import Any

from api.problems import ProblemError
from api.schemas import TrackRequest
from config.settings import Settings
from config.values import DEFAULT_ACCOUNT
from operations.kind import Kind, Links
from scalingo.address import API_KINDS, OFFICIAL_REGIONS, Address, logs_page, parse_url


def address_of(wanted: TrackRequest, settings: Settings) -> Address:
    """Find the address, with the app and, of databases, the addon. Raises ProblemError (422).

    All names must be configured, and the other fields must agree with an `operation_url`.
    """
    _require_known("region", [] if wanted.region is None else [wanted.region], settings.regions)
    _require_known("account", [wanted.account or DEFAULT_ACCOUNT], settings.accounts)
    _require_known("notify", wanted.notify or [], settings.targets)
    where = _by_ids(wanted, wanted.region or settings.region)
    if wanted.operation_url is not None:
        where = _by_url(wanted, wanted.operation_url, settings)
    named = replace(where, app=wanted.app or where.app, addon_id=wanted.addon_id or where.addon_id)
    if named.app is None:
        raise ProblemError.invalid(("app", "is required: the URL does not name the app"))
    if API_KINDS[named.kind].in_database_api and named.addon_id is None:
        raise ProblemError.invalid(("addon_id", "is required: it is the addon of the database"))
    return named


def links(where: Address, settings: Settings) -> Links:
    """Return where people find more: in Scalingo's dashboard, if the region is Scalingo's own, and on our page."""
    official = OFFICIAL_REGIONS.get(where.region) == settings.regions[where.region]
    logs = logs_page(where.region, where.kind, where.app) if official and where.app is not None else None
    story = None if settings.public_url is None else f"{settings.public_url}/operations/{where.tracking_id}"
    return Links(logs=logs, story=story)


def place(where: Address, account: str, settings: Settings) -> str:
    """Name account and region for people, as far as the app's name alone is not enough: unless they are the default."""
    told = [account] if account != DEFAULT_ACCOUNT and len(settings.accounts) > 1 else []
    return " in ".join([*told, where.region] if where.region != settings.region else told)


def _require_known(field: str, names: list[str], known: Any) -> None:
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(sorted(known))
        raise ProblemError.invalid(
            (field, f"{', '.join(map(repr, unknown))} is not configured here; configured: {there}")
        )


def _by_ids(wanted: TrackRequest, region: str) -> Address:
    kind = Kind.DATABASE if wanted.addon_id else Kind.OPERATION
    if wanted.deployment_id or wanted.backup_id:
        kind = Kind.DEPLOYMENT if wanted.deployment_id else Kind.BACKUP
    thing_id = wanted.deployment_id or wanted.backup_id or wanted.operation_id or ""
    return Address(region=region, kind=kind, thing_id=thing_id, by_addon=kind is Kind.BACKUP)


def _by_url(wanted: TrackRequest, url: str, settings: Settings) -> Address:
    try:
        where = parse_url(url.strip(" \t\r\n"), settings.regions, settings.database_apis)
    except ValueError as error:
        raise ProblemError.invalid(("operation_url", str(error))) from None
    is_deployment, is_backup = where.kind is Kind.DEPLOYMENT, where.kind is Kind.BACKUP
    found = {
        "region": where.region,
        "app": where.app if where.app_id is None and where.app is not None else wanted.app,  # its id is not its name
        "operation_id": where.thing_id,
        "deployment_id": where.thing_id if is_deployment else None,
        "backup_id": where.thing_id if is_backup else None,
        "addon_id": where.addon_id or (wanted.addon_id if API_KINDS[where.kind].in_database_api else None),
    }
    if odd := [name for name, value in found.items() if getattr(wanted, name) not in (None, value)]:
        raise ProblemError.invalid(*((name, "disagrees with operation_url") for name in odd))
    return where
