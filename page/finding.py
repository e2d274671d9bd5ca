"""What a search finds: what is in flight, the newest first, and then what has ended, the latest end first."""

from api.service import Service
from operations.model import WENT_WRONG, State, Tracking
from operations.storage import index
from operations.storage.failing import FAILING, failing_ids
from operations.storage.index import BY_END, RECENT, WRONG
from operations.storage.listing import Page
from page import search
from page.search import IN_FLIGHT, Search


def find(parts: Service, wanted: Search, limit: int) -> Page:
    """Read one page. Raises redis.RedisError if Redis is away."""
    among, states = _among(parts, wanted), set(wanted.states or State)
    if State.TRACKING not in states:
        return _read(parts, wanted, limit, WRONG if states <= set(WENT_WRONG) else BY_END, among)
    due = parts.listing.ids(index.DUE)
    flying = Page((), None)
    if not wanted.cursor or wanted.cursor.startswith(IN_FLIGHT) or states == {State.TRACKING}:
        flying = _read(parts, wanted, limit, RECENT, due if among is None else among & due)
        if flying.next_cursor is not None:
            return Page(flying.trackings, IN_FLIGHT + flying.next_cursor, flying.looked_through)
    if states == {State.TRACKING}:
        return flying
    shown = {tracking.id for tracking in flying.trackings}  # one may end between both readings
    left = max(1, limit - len(shown))
    ended = _read(parts, wanted, left, BY_END, None if among is None else among - due, but=shown)
    return Page((*flying.trackings, *ended.trackings), ended.next_cursor, flying.looked_through + ended.looked_through)


def _read(
    parts: Service,
    wanted: Search,
    limit: int,
    by: str,
    among: set[str] | None,
    but: frozenset[str] | set[str] = frozenset(),
) -> Page:
    in_flight = by == RECENT

    def matches(tracking: Tracking) -> bool:
        return (tracking.state is State.TRACKING) is in_flight and tracking.id not in but and wanted.matches(tracking)

    cursor = wanted.cursor if wanted.cursor.startswith(IN_FLIGHT) is in_flight else ""
    return parts.listing.page(
        matches,
        cursor=cursor.removeprefix(IN_FLIGHT) or None,
        limit=limit,
        by=by,
        among=among,
        worth=wanted.prefilter(),
    )


def _among(parts: Service, wanted: Search) -> set[str] | None:
    """Return the few that can match, if an index names them, so that none is out of reach."""
    if wanted.delivery in FAILING:
        return set(failing_ids(parts.connection, wanted.target or None, wanted.delivery))
    if wanted.group:
        return parts.listing.ids(index.group_key(wanted.group))
    named = parts.records.read(search.ids(wanted.q, parts.settings.regions))
    return {each.tracking.id for each in named} or None
