import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from deployments.gateway.errors import BadImage
from deployments.gateway.fetch import AddressPolicy, AddressRefused, Fetcher, FetchLimits, GuardedResolver

PARAM = "messages[0].content[1].image_url"
LOOPBACK = ("127.0.0.0/8",)
FAILED, INVALID, TOO_LARGE = "failed_to_download_image", "invalid_image_url", "image_file_too_large"


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


class Site:
    """A real web server on loopback, which counts what it is asked for."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.headers: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.hits.append(request.path)
        self.headers = dict(request.headers)
        match request.path.split("/")[1:]:
            case ["image"]:
                return web.Response(body=b"x" * 1000)
            case ["status", status]:
                return web.Response(status=int(status))
            case ["again", times]:
                return _redirect(f"/again/{int(times) - 1}" if int(times) else "/image")
            case ["to"]:
                return _redirect(request.query["url"])
            case ["hang"]:
                await asyncio.Event().wait()
        return web.Response(status=404)


def _redirect(location: str) -> web.Response:
    return web.Response(status=302, headers={"Location": location, "Set-Cookie": "a=b"})


@pytest.fixture
async def site() -> AsyncIterator[tuple[Site, str]]:
    served = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield served, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def fetch(url: str, **limits: object) -> bytes:
    fetcher = Fetcher(FetchLimits(**({"allowed_networks": LOOPBACK, "timeout_s": 5.0} | limits)))
    try:
        return await fetcher.fetch(url, PARAM)
    finally:
        await fetcher.close()


async def refusal(url: str, **limits: object) -> BadImage:
    with pytest.raises(BadImage) as refused:
        await fetch(url, **limits)
    assert refused.value.param == PARAM
    return refused.value


@pytest.mark.parametrize(
    "path", ["/image", "/again/0", "/again/2", "/to?url=/image", "/to?url=//127.0.0.1:{port}/image"]
)
async def test_an_image_is_fetched_through_up_to_three_redirects(site: tuple[Site, str], path: str):
    """Relative and absolute locations are followed, and no cookie is carried along."""
    served, url = site
    assert await fetch(url + path.format(port=url.rpartition(":")[2])) == b"x" * 1000
    assert not {"Cookie", "Authorization", "Referer"} & served.headers.keys()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/204", FAILED),
        ("/status/403", FAILED),
        ("/status/500", FAILED),
        ("/status/302", FAILED),  # without a location
        ("/again/3", FAILED),  # four redirects
        ("/to?url=http://10.0.0.1/", FAILED),
        ("/to?url=http://169.254.169.254/latest/meta-data/", FAILED),
        ("/to?url=http://[::1]/", FAILED),
        ("/to?url=file:///etc/passwd", FAILED),
        ("/to?url=http://user:password@127.0.0.1/", FAILED),
        ("/to?url=http://[::1", FAILED),
    ],
)
async def test_what_does_not_end_at_an_image_is_refused(site: tuple[Site, str], path: str, code: str):
    """Every redirect is checked like the first URL."""
    assert (await refusal(site[1] + path)).code == code


async def test_no_more_bytes_are_read_than_allowed(site: tuple[Site, str]):
    """The cap counts what comes, whatever was announced."""
    assert await fetch(site[1] + "/image", bytes_max=1000)
    assert (await refusal(site[1] + "/image", bytes_max=999)).code == TOO_LARGE


async def test_a_site_that_never_answers_costs_the_time_allowed(site: tuple[Site, str]):
    """The limit is on the whole download."""
    assert (await refusal(site[1] + "/hang", timeout_s=0.2)).code == FAILED


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0", "0177.0.0.1"])
async def test_no_spelling_of_loopback_is_connected_to(site: tuple[Site, str], host: str):
    """Neither a name nor an unusual form of the address reaches the server that listens there."""
    served, url = site
    error = await refusal(url.replace("127.0.0.1", host) + "/image", allowed_networks=())
    assert error.code == FAILED
    assert served.hits == []


@pytest.mark.parametrize(
    "url",
    ["", "a.png", "ftp://x/a.png", "file:///etc/passwd", "http://", "http:///a", "http://u:p@x/", "http://u@x/",
     "http://x:99999/", "http://[zz]/", "javascript:alert(1)"],
)  # fmt: skip
async def test_what_is_no_web_address_is_refused_as_such(url: str):
    """Other schemes, credentials in the URL, and what is no URL at all."""
    assert (await refusal(url)).code == INVALID


async def test_every_failed_download_is_told_the_same(site: tuple[Site, str]):
    """Refused, unreachable and missing look alike from outside, and no error repeats the URL."""
    served, url = site
    errors = [
        await refusal(f"{url}/status/404"),
        await refusal(f"{url}/to?url=http://10.0.0.1/"),
        await refusal("http://127.0.0.1:1/"),
        await refusal("http://10.0.0.1/"),
    ]
    assert len({error.encoded() for error in errors}) == 1
    assert b"127.0.0.1" not in errors[0].encoded()
    assert served.hits == ["/status/404", "/to"]
