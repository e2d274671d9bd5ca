"""Refuses connections to private networks, by the address that is dialled.

Checking a URL is not enough: a name may resolve to another address a moment later, and redirects lead elsewhere.
aiohttp calls this socket factory for every address that it dials, literal or resolved. `connect` does the same for
other protocols.
"""

import asyncio
import socket
from ipaddress import IPv6Address, ip_address, ip_network

from aiohappyeyeballs import AddrInfoType, start_connection

from operations.errors import REFUSED_BY_US

_REFUSED = tuple(
    ip_network(network)
    for network in (
        # https://www.iana.org/assignments/iana-ipv4-special-registry
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        # https://www.iana.org/assignments/iana-ipv6-special-registry: IPv6 passes only inside 2000::/3, and not here
        "::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip


class PrivateAddressError(OSError):
    """The address is in a private or reserved network."""


def refusal(address: str) -> str | None:
    """Return why an address must not be dialled; None if it may be. An unreadable address is refused."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return f"{address} is not an address"
    # All other embeddings of an IPv4 address (NAT64, 6to4, Teredo) are refused as a whole.
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    if any(candidate in network for candidate in (parsed, mapped) if candidate for network in _REFUSED):
        return (
            f"{REFUSED_BY_US}: {address} is a private or reserved address "
            "(OPWATCH_ALLOW_PRIVATE_TARGETS=true allows such targets)"
        )
    return None


def guarded_socket(info: AddrInfoType) -> socket.socket:
    """Open a socket for an address. Raises PrivateAddressError if it must not be dialled."""
    family, kind, protocol, _, address = info
    why = refusal(str(address[0]))
    if why is not None:
        raise PrivateAddressError(why)
    return socket.socket(family=family, type=kind, proto=protocol)


async def connect(host: str, port: int, *, private_allowed: bool) -> socket.socket:
    """Connect to a host, only at public addresses unless private ones are allowed. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await start_connection(found, socket_factory=None if private_allowed else guarded_socket)
