"""Tests a Slack bot's token and channel without posting.

https://docs.slack.dev/reference/methods/auth.test and https://docs.slack.dev/reference/methods/conversations.info
"""

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from notifiers import PermanentError, TransientError, first_line, plain

if TYPE_CHECKING:
    from slack_sdk.web.async_slack_response import AsyncSlackResponse

_CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{6,}")
_NAME_LIMIT = 60


async def checked(
    call: "Callable[..., Awaitable[AsyncSlackResponse]]", channel: str, repeats_settings: Callable[[str], bool]
) -> str:
    """Say which bot signed in and, if its scopes suffice, whether it may post to the channel.

    `call` calls a method of the Web API with a form as `data`.
    """
    identity = await call("auth.test", data={})
    if list(identity.data) == ["ok"]:
        raise TransientError("Slack's answer breaks off")
    given = next((value for name, value in identity.headers.items() if name.lower() == "x-oauth-scopes"), "")
    scopes = {scope.strip() for scope in given.split(",")} - {""}
    if scopes and "chat:write" not in scopes:
        raise PermanentError("the bot lacks the scope chat:write: add it, and install the app again")
    user, team = (
        "?" if repeats_settings(name) else name for name in (_name(identity.get("user")), _name(identity.get("team")))
    )
    signed_in = f"signed in as {user} of {team}"
    if _CHANNEL_ID.fullmatch(channel) is None:
        return f"{signed_in}; the channel cannot be checked by its name: set its id"
    try:
        answer = await call("conversations.info", data={"channel": channel})
    except PermanentError as error:
        if "missing_scope" not in str(error):
            raise
        return f"{signed_in}; to check the channel, it needs the scope channels:read (groups:read if it is private)"
    found = answer.get("channel")
    if not (isinstance(found, dict) and found.get("is_member")) and "chat:write.public" not in scopes:
        raise PermanentError("the bot is not in the channel: /invite it there")
    return f"{signed_in}; it may post to the channel"


def _name(told: object) -> str:
    return first_line(plain(str(told or "?")), _NAME_LIMIT)
