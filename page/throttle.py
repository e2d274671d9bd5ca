"""How often somebody may try to sign in, counted in Redis for all processes.

Each address has its own few tries a minute, and all together have some more, so that who tries from one address (of
IPv6: from one /64) locks nobody else out, and who tries from thousands does so only while it lasts.
"""

import ipaddress

from api.service import Service

TRIES_OF_ADDRESS = 10
TRIES_OF_ALL = 100
PER_S = 60


def admits(parts: Service, address: str) -> bool:
    """Count a try, and tell whether it may be made; what an address has too many of does not count for all."""
    window = int(parts.records.now().timestamp()) // PER_S
    for who, most in ((address, TRIES_OF_ADDRESS), ("all", TRIES_OF_ALL)):
        name = f"opwatch:sign-ins:{who}:{window}"
        tries = int(parts.connection.incr(name))
        parts.connection.expire(name, 2 * PER_S)
        if tries > most:
            return False
    return True


def address_of(forwarded_for: str, peer: str) -> str:
    """Tell from where a request comes: what the nearest proxy added last, or the peer where there is none.

    Without a proxy the header may be forged; then only the limit of all together holds.
    """
    told = forwarded_for.rpartition(",")[2].strip() or peer
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address.packed, 64), strict=False))
    return str(address)
