"""Fetching by URL, guarded: no address of ours, and no more bytes, time, redirects or connections than allowed.

Every redirect is checked like the first URL (`address.py`). No body is asked for in a compressed form, since images, PDFs
and clips are compressed already; one that comes so all the same is unpacked, up to the same number of bytes.
"""

import asyncio
from dataclasses import dataclass
from weakref import WeakValueDictionary

import aiohttp

from deployments.gateway.media.address import TENANT, AddressPolicy, GuardedResolver
from deployments.gateway.media.fault import Fault, NotDownloaded, TooManyBytes
from deployments.gateway.media.flight import SingleFlight
from deployments.gateway.media.packing import check_packing, unpacked
from deployments.gateway.media.response import Connector
from deployments.gateway.media.turns import Turns
from deployments.gateway.media.web_address import CHARACTERS_MAX, NotAnAddress, WebAddress, read_address

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The second is an answer that a proxy on the way has changed, such as by making the image smaller.
SUCCESSES = frozenset({200, 203})
READ_BYTES = 64 * 1024
# The formats by name, so that a server which makes images to order makes none that is not taken here; and anything else,
# because a server may not know what it has.
ACCEPT = "image/png, image/jpeg, image/webp, image/gif, video/*, application/pdf, */*;q=0.1"
HEADERS = {"User-Agent": "vlmfleet", "Accept": ACCEPT, "Accept-Encoding": "identity"}
# Sites send policies of ten kilobytes and more in one header, and many of them.
HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX = 64 * 1024, 500


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """`timeout_s` is for a whole download, from its turn on. `connections_per_host_max`: of one tenant.
    `allowed_networks` are private networks that may be fetched from all the same; none by default.
    """

    redirects_max: int = 3
    timeout_s: float = 10.0
    connections_max: int = 100
    connections_per_host_max: int = 8
    allowed_networks: tuple[str, ...] = ()


class Fetcher:
    """Fetches over http and https, in turns by tenant; the same URL, asked for again meanwhile by the same tenant, once.
    One per gateway; `close` it.
    """

    def __init__(self, limits: FetchLimits) -> None:
        self._limits = limits
        self._policy = AddressPolicy(limits.allowed_networks)
        self._session: aiohttp.ClientSession | None = None
        self._flights: SingleFlight[tuple[str, str, int], bytes] = SingleFlight()
        self._turns = Turns(limits.connections_max)
        # By tenant and host, while somebody is there.
        self._hosts: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()

    async def fetch(self, url: str, bytes_max: int, tenant: str = "") -> bytes:
        """The body behind `url`. Raises `Fault`."""
        return await self._flights.join((tenant, url, bytes_max), lambda: self._fetch(url, bytes_max, tenant))

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _fetch(self, url: str, bytes_max: int, tenant: str) -> bytes:
        try:
            address = read_address(url)
        except NotAnAddress as error:
            message = f"it is not a data URL, or an http or https URL of at most {CHARACTERS_MAX} characters (without password)"
            raise Fault("invalid_image_url", message) from error
        TENANT.set(tenant)  # of this flight alone, which is a task
        try:
            async with self._turns.turn(tenant), asyncio.timeout(self._limits.timeout_s):
                return await self._follow(address, bytes_max, tenant)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NotDownloaded from error

    async def _follow(self, address: WebAddress, bytes_max: int, tenant: str) -> bytes:
        for _ in range(self._limits.redirects_max + 1):
            self._policy.check_host(address.host)
            async with self._room(tenant, address), self._open().get(address.url, allow_redirects=False) as response:
                if response.status in REDIRECTS and "location" in response.headers:
                    address = address.redirected(response.headers["location"])
                    continue
                return await _body(response, bytes_max)
        raise NotDownloaded

    def _room(self, tenant: str, address: WebAddress) -> asyncio.Semaphore:
        """For a few connections of a tenant to a host."""
        return self._hosts.setdefault((tenant, address.host), asyncio.Semaphore(self._limits.connections_per_host_max))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(GuardedResolver(self._policy)),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers=HEADERS,
                max_field_size=HEADER_BYTES_MAX,
                max_headers=RESPONSE_HEADERS_MAX,
            )
        return self._session


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Raises `Fault`; the cap counts what comes, whatever was announced."""
    if response.status not in SUCCESSES:
        raise NotDownloaded
    packing = check_packing(response.headers.getall("content-encoding", ()))
    if (response.content_length or 0) > bytes_max:
        raise TooManyBytes(bytes_max)
    data = bytearray()
    async for chunk in response.content.iter_chunked(READ_BYTES):
        data += chunk
        if len(data) > bytes_max:
            raise TooManyBytes(bytes_max)
    return await asyncio.to_thread(unpacked, bytes(data), packing, bytes_max) if packing else bytes(data)
