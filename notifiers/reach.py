"""Whether a target's host can be reached, found out without telling it anything."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from aiohttp import ClientSession


async def reached(url: SecretStr, http: "ClientSession") -> str:
    """Connect to the host of a URL as `send` does (resolver, address guard, TLS); raises what `http` raises.

    Only `/` is asked for, with HEAD: what the URL names is neither called nor said.
    """
    parts = urlsplit(url.get_secret_value())
    root = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    async with http.head(root, allow_redirects=False):
        pass
    return f"{parts.hostname} is reached; whether it takes messages, only posting shows (send-test)"
