import socket

import pytest

from deployments.gateway.media.address import AddressPolicy, AddressRefused, GuardedResolver


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("::ffff:93.184.216.34", True),  # IPv4-mapped
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),  # carrier-grade NAT
        ("100.100.100.200", False),  # Alibaba's metadata
        ("169.254.169.254", False),  # AWS's, GCP's and Azure's metadata
        ("198.18.0.1", False),  # benchmarking
        ("224.0.0.1", False),  # multicast
        ("240.0.0.1", False),  # reserved
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fd00:ec2::254", False),  # AWS's metadata
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("ff02::1", False),
        ("2001:db8::1", False),  # documentation
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.1.2.3", False),
        ("64:ff9b::7f00:1", False),  # NAT64 of 127.0.0.1
        ("64:ff9b::5db8:d822", False),  # NAT64 of a public one: refused all the same
        ("168.63.129.16", False),  # Azure's platform
        ("::ffff:168.63.129.16", False),
        ("192.0.0.192", False),
        ("169.254.170.2", False),
        ("fd20:ce::254", False),
        ("161.26.0.11", False),  # IBM's service endpoints
        ("166.8.0.1", False),
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
        ("2001:0:7f00:1::", False),  # Teredo
    ],
)
def test_only_public_addresses_are_connected_to(address: str, allowed: bool):
    """By default nothing on our side of the internet can be fetched from, in whatever form it is written."""
    assert AddressPolicy().allows(address) is allowed


@pytest.mark.parametrize(
    ("address", "allowed"), [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("10.2.0.0", False), ("fd00::1", True)]
)
def test_an_operator_can_allow_a_private_network(address: str, allowed: bool):
    """That network and no other."""
    assert AddressPolicy(("10.1.0.0/16", "fd00::/8")).allows(address) is allowed


async def test_a_name_with_one_refused_address_is_refused():
    """All of a name's addresses must be allowed: `localhost` is here for its 127.0.0.1."""
    assert await GuardedResolver(AddressPolicy(("127.0.0.0/8", "::1/128"))).resolve("localhost", 80)
    for policy in (AddressPolicy(), AddressPolicy(("::1/128",))):
        with pytest.raises(AddressRefused):
            await GuardedResolver(policy).resolve("localhost", 80)


async def test_one_public_address_does_not_make_a_name_good(monkeypatch: pytest.MonkeyPatch):
    """A name that leads to a public and to a private address is an attack, in either order."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("93.184.216.34", "10.0.0.1")]
    for answer in (found, found[::-1]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, answer=answer: answer)
        with pytest.raises(AddressRefused):
            await GuardedResolver(AddressPolicy()).resolve("both.example", 80)
