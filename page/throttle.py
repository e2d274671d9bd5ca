"""Limits attempts to sign in, counted in Redis for all processes.

Each address (of IPv6: each /64) has a few attempts a minute, and all addresses together have some more. So an attacker
with one address locks nobody out. One with thousands of addresses does, but only during the attack.
"""

import ipaddress
import re

from api.service import Service

TRIES_OF_ADDRESS = 10
TRIES_OF_ALL = 100
PER_S = 60
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([0-9A-Fa-f:.%]+)\](?::[0-9]+)?")


def admits(parts: Service, address: str) -> bool:
    """Count an attempt, and tell whether it is allowed. Attempts above an address's limit do not count for all."""
    window = int(parts.records.now().timestamp()) // PER_S
    for who, most in ((address, TRIES_OF_ADDRESS), ("all", TRIES_OF_ALL)):
        name = f"opwatch:sign-ins:{who}:{window}"
        tries = int(parts.connection.incr(name))
        parts.connection.expire(name, 2 * PER_S)
        if tries > most:
            return False
    return True


def address_of(forwarded_for: str, peer: str) -> str:
    """Return the address of the client: the one that the nearest proxy added last, or else the peer.

    Without a proxy the header can be forged; then only the limit for all addresses protects.
    """
    told = forwarded_for.rpartition(",")[2].strip() or peer
    if (match := _WITH_PORT.fullmatch(told)) is not None:  # as some gateways write it
        told = match[1] or match[2]
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if (inside := address.ipv4_mapped or address.sixtofour) is not None:
            return str(inside)
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)
