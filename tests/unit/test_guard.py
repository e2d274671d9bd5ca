"""Which addresses may be dialled."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifiers.guard import PrivateAddressError, guarded_socket, refusal


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34", "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0",
        "192.167.255.255",
        "169.253.0.1", "11.0.0.0", "9.255.255.255", "126.255.255.255", "128.0.0.1", "223.255.255.255", "198.17.0.1",
        "198.20.0.1",
        "2606:4700::1111", "2a00:1450:4007::1", "2001:4860:4860::8888", "2001:200::1", "2003::1", "2001:db7::1",
    ],
)  # fmt: skip
def test_public_addresses_pass(address: str) -> None:
    assert refusal(address) is None


REFUSED = [
    # IPv4: loopback, link-local and metadata, private, CGNAT, multicast, reserved, unspecified, documentation
    "127.0.0.1", "127.255.255.255", "169.254.0.1", "169.254.169.254", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1", "192.168.255.255", "100.64.0.0", "100.127.255.255", "100.100.100.200", "224.0.0.1",
    "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255",  # noqa: S104
    "198.51.100.1", "203.0.113.1", "192.88.99.1",
    # IPv6: loopback, unspecified, link-local, with zones, ULA, site-local, multicast, documentation, discard
    "::1", "::", "fe80::1", "fe80::1%eth0", "fe80::1%1", "febf::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
    "ff0e::1",
    "2001:db8::1", "3fff::1", "100::1", "4000::1", "8000::1", "5f00::1",
    # IPv4 inside IPv6: mapped, compatible, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2002::1", "2002:7f00:1::1", "2002:a00:1::",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_private_and_reserved_addresses_are_refused_and_the_guard_says_so(address: str) -> None:
    why = refusal(address)
    assert why is not None
    assert address in why
    assert "refused by Opwatch" in why
    assert "OPWATCH_ALLOW_PRIVATE_TARGETS" in why


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.1.1.1:80", "[::1]", "\uff11.1.1.1", " 1.1.1.1"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    assert refusal(text) is not None


@given(st.ip_addresses())
def test_no_address_that_python_calls_private_or_multicast_passes(address: IPv4Address | IPv6Address) -> None:
    if refusal(str(address)) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


_PRIVATE = [
    ip_network(net)
    for net in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
]


@given(st.ip_addresses(v=4))
def test_an_embedded_private_address_is_refused_in_every_dress(address: IPv4Address) -> None:
    number = int(address)
    for dressed in (
        number + (0xFFFF << 32),
        number,
        number + (0x64FF9B << 96),
        (0x2002 << 112) + (number << 80),
        (0x20010000 << 96) + number,
    ):
        assert refusal(str(IPv6Address(dressed))) is not None
    if any(address in network for network in _PRIVATE):
        assert refusal(str(address)) is not None


@given(st.text())
def test_any_text_is_refused_or_an_address(text: str) -> None:
    if refusal(text) is None:
        assert ip_address(text)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254"])
def test_no_socket_is_opened_for_a_refused_address(address: str) -> None:
    with pytest.raises(PrivateAddressError, match="refused by Opwatch"):
        guarded_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443)))
    with pytest.raises(PrivateAddressError, match="refused by Opwatch"):
        guarded_socket((socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (f"::ffff:{address}", 443, 0, 0)))


def test_a_socket_is_opened_for_a_public_address() -> None:
    with guarded_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("93.184.216.34", 443))) as opened:
        assert opened.family is socket.AF_INET
