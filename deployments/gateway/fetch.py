"""Fetching an image by URL, guarded: no address of ours, and no more bytes, time or redirects than allowed.

The name is resolved once and the connection goes to the address that was checked, so a name that changes between check
and use (DNS rebinding) gains nothing. Every redirect is checked again. One answer for every failure, so that nobody can
map our network from the errors.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from deployments.gateway.errors import BadImage

REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_BYTES = 64 * 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv6 ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo, compatible, translated), and old site-local ones.
_REFUSED = tuple(
    map(
        ipaddress.IPv6Network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96", "fec0::/10"),
    )
)
# A host whose last label is a number is an IPv4 address to some resolvers: 2130706433, 127.1, 0x7f.1.
_NUMERIC_HOST = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`allowed_networks` are private networks that images may come from all the same; none by default."""

    bytes_max: int = 20 * 2**20
    redirects_max: int = 3
    timeout_s: float = 10.0
    allowed_networks: tuple[str, ...] = ()


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
        if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _REFUSED):
            return False
        return address.is_global and not address.is_multicast


class GuardedResolver(AbstractResolver):
    """Resolves names to allowed addresses only. aiohttp connects to exactly what this returns."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `AddressRefused` if any address of the name is refused: a name with both kinds is an attack."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
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


class Fetcher:
    """Fetches images over http and https. One per gateway; `close` it."""

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._policy = AddressPolicy(limits.allowed_networks)
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, param: str) -> bytes:
        """The body behind `url`. Raises `BadImage`, which names `param` and never the URL."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await self._follow(_checked(url, param), param)
        except (aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
            raise _failed(param) from error

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _follow(self, url: URL, param: str) -> bytes:
        for _ in range(self._limits.redirects_max + 1):
            self._check_literal(url)
            async with self._open().get(url, allow_redirects=False) as response:
                if response.status in REDIRECTS and "location" in response.headers:
                    url = _redirected(url, response.headers["location"])
                    continue
                if response.status != 200:
                    raise _failed(param)
                return await self._read(response, param)
        raise _failed(param)

    def _check_literal(self, url: URL) -> None:
        # An address written in the URL is connected to without asking the resolver.
        host = url.host or ""
        try:
            allowed = self._policy.allows(host)
        except ValueError:
            allowed = not _NUMERIC_HOST.search(host)
        if not allowed:
            raise AddressRefused(host)

    async def _read(self, response: aiohttp.ClientResponse, param: str) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(READ_BYTES):
            data += chunk
            if len(data) > self._limits.bytes_max:
                raise BadImage(
                    "image_file_too_large",
                    f"'{param}': the image is above {self._limits.bytes_max} bytes. Send a smaller one.",
                    param=param,
                )
        return bytes(data)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=GuardedResolver(self._policy), use_dns_cache=False, force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": "vlmfleet", "Accept": "image/*"},
            )
        return self._session


def _checked(url: str, param: str) -> URL:
    try:
        parsed = URL(url)
        valid = (
            parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.user is None and parsed.password is None
        )
    except ValueError:
        valid = False
    if not valid:
        raise BadImage(
            "invalid_image_url",
            f"'{param}' is not an http, https or data URL (without user and password).",
            param=param,
        )
    return parsed


def _redirected(url: URL, location: str) -> URL:
    """Where a redirect leads. Raises `AddressRefused`, so that every fault of another's server is told the same."""
    try:
        return _checked(str(url.join(URL(location))), "")
    except (ValueError, BadImage) as error:
        raise AddressRefused(location) from error


def _failed(param: str) -> BadImage:
    return BadImage(
        "failed_to_download_image",
        f"'{param}': the image could not be downloaded. Check that the URL is public and answers, or send a data URL.",
        param=param,
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
