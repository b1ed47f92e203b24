"""Which addresses may be fetched from, and a resolver that leads to no others.

A name is resolved once, and the connection goes to an address that was checked: a name that changes between check and
use (DNS rebinding) gains nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from contextvars import ContextVar

from aiohttp.abc import AbstractResolver, ResolveResult

from deployments.gateway.media.threads import Threads

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo, compatible, translated), and old site-local ones.
_REFUSED: tuple[Network, ...] = tuple(
    map(
        ipaddress.IPv6Network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96", "fec0::/10"),
    )
)
# Clouds' own services on addresses that look public, and are reached from their machines alone: Azure's platform
# (learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), Oracle's old metadata address in a range of
# the IETF's (RFC 6890), and IBM's service endpoints (cloud.ibm.com/docs/vpc?topic=vpc-service-endpoints-for-vpc). Other
# metadata addresses lie in private ranges: docs/media.md lists them.
_CLOUDS: tuple[Network, ...] = tuple(
    map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "161.26.0.0/16", "166.8.0.0/14"))
)
# A host whose last label is a number is an IPv4 address to some resolvers: 2130706433, 127.1, 0x7f.1.
_NUMERIC_HOST = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$", re.IGNORECASE)


class AddressRefused(OSError):
    """A name leads to an address that must not be fetched from."""


class AddressPolicy:
    """Which addresses may be connected to: public ones, and `allowed_networks`."""

    def __init__(self, allowed_networks: Sequence[str] = ()) -> None:
        self._allowed: tuple[Network, ...] = tuple(map(ipaddress.ip_network, allowed_networks))

    def allows(self, host: str) -> bool:
        """Whether the address (not a name) is one to connect to."""
        address = _unwrapped(ipaddress.ip_address(host.partition("%")[0]))
        if any(address in network for network in self._allowed):
            return True
        if any(address in network for network in (*_REFUSED, *_CLOUDS)):
            return False
        return address.is_global and not address.is_multicast

    def check_host(self, host: str) -> None:
        """Raise `AddressRefused` for a forbidden address that is written in a URL: no resolver is asked about it."""
        try:
            allowed = self.allows(host)
        except ValueError:
            allowed = not _NUMERIC_HOST.search(host)
        if not allowed:
            raise AddressRefused(host)


# Who a name is looked up for: aiohttp stands between, and cannot say it.
TENANT = ContextVar("tenant", default="")
# A name server that does not answer keeps a thread for half a minute.
LOOKUPS_MAX = 64


class GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only. aiohttp connects to exactly what this returns."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._threads = Threads(LOOKUPS_MAX, "names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `AddressRefused` if any address of the name is refused: a name with both kinds is an attack."""
        found = await self._threads.run(TENANT.get(), socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        if not all(self._policy.allows(str(address[0])) for *_, address in found):
            raise AddressRefused(host)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
