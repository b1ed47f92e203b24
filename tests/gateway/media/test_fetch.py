import asyncio
import gzip
import socket
import threading
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.fetch import Fetcher, FetchLimits

LOOPBACK = ("127.0.0.0/8",)
FAILED, INVALID, TOO_LARGE = "failed_to_download_image", "invalid_image_url", "image_file_too_large"


class Site:
    """A real web server on loopback, which counts what it is asked for."""

    def __init__(self) -> None:
        self.hits: list[str] = []
        self.headers: dict[str, str] = {}
        self.at_once = self.most_at_once = 0
        self.gate = asyncio.Event()
        self.news = asyncio.Condition()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        async with self.news:
            self.news.notify_all()
        try:
            return await self._answer(request)
        finally:
            self.at_once -= 1

    async def asked(self, times: int) -> None:
        """Wait until so many requests are here."""
        async with self.news:
            await self.news.wait_for(lambda: self.at_once >= times)

    async def _answer(self, request: web.Request) -> web.StreamResponse:  # noqa: C901, PLR0911, PLR0912  # one a path
        self.hits.append(request.path)
        self.headers = dict(request.headers)
        match request.path.split("/")[1:]:
            case ["image"]:
                return web.Response(body=b"x" * 1000)
            case ["transformed"]:
                return web.Response(status=203, body=b"x" * 1000)
            case ["status", status]:
                return web.Response(status=int(status))
            case ["again", times]:
                return _redirect(f"/again/{int(times) - 1}" if int(times) else "/image")
            case ["to"]:
                return _redirect(request.query["url"])
            case ["hang"]:
                await asyncio.Event().wait()
            case ["gate"]:
                await self.gate.wait()
                return web.Response(body=b"x" * 1000)
            case ["endless"]:
                return await _endless(request)
            case ["packed"]:  # 64 MiB of zeros
                return web.Response(body=PACKED, headers={"Content-Encoding": "gzip"})
            case ["in", packing]:
                return web.Response(body=gzip.compress(b"x" * 1000), headers={"Content-Encoding": packing})
            case ["as-it-is", packing]:
                return web.Response(body=b"x" * 1000, headers={"Content-Encoding": packing})
            case ["talks", size]:
                headers = {f"X-{i}": "" for i in range(200)} | {"Content-Security-Policy": "a" * int(size)}
                return web.Response(body=b"x" * 1000, headers=headers)
            case ["see", *_]:
                return web.Response(body=request.raw_path.encode())
        return web.Response(status=404)


PACKED = gzip.compress(bytes(64 * 2**20))


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(2**16))


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


async def fetch(url: str, bytes_max: int = 10_000, **limits: object) -> bytes:
    fetcher = Fetcher(FetchLimits(**({"allowed_networks": LOOPBACK, "timeout_s": 5.0} | limits)))
    try:
        return await fetcher.fetch(url, bytes_max)
    finally:
        await fetcher.close()


async def refusal(url: str, bytes_max: int = 10_000, **limits: object) -> Fault:
    with pytest.raises(Fault) as refused:
        await fetch(url, bytes_max, **limits)
    return refused.value


@pytest.mark.parametrize(
    "path", ["/image", "/transformed", "/again/0", "/again/2", "/to?url=/image", "/to?url=//127.0.0.1:{port}/image"]
)
async def test_an_image_is_fetched_through_up_to_three_redirects(site: tuple[Site, str], path: str):
    """Relative and absolute locations are followed, and no cookie is carried along."""
    served, url = site
    assert await fetch(url + path.format(port=url.rpartition(":")[2])) == b"x" * 1000
    assert not {"Cookie", "Authorization", "Referer"} & served.headers.keys()


@pytest.mark.parametrize("path", ["/in/gzip", "/in/X-Gzip", "/as-it-is/identity", "/as-it-is/", "/as-it-is/Identity"])
async def test_a_body_is_taken_as_it_was_before_it_was_packed(site: tuple[Site, str], path: str):
    """It is not asked for packed, but some servers do not ask."""
    served, url = site
    assert await fetch(url + path) == b"x" * 1000
    assert served.headers["Accept-Encoding"] == "identity"


async def test_a_site_may_say_much_about_itself(site: tuple[Site, str]):
    """Within bounds."""
    assert await fetch(site[1] + "/talks/50000") == b"x" * 1000
    assert (await refusal(site[1] + "/talks/100000")).code == FAILED


async def test_a_site_is_told_what_is_taken(site: tuple[Site, str]):
    """By name, as some make images to order; and anything else may come, as some do not know what they have."""
    served, url = site
    await fetch(url + "/image")
    assert "avif" not in served.headers["Accept"]
    assert {"image/png", "image/webp", "*/*;q=0.1"} <= set(served.headers["Accept"].split(", "))


async def test_a_packing_that_is_not_taken_is_told(site: tuple[Site, str]):
    """By name: the server is not ours."""
    assert "Content-Encoding" in (await refusal(site[1] + "/as-it-is/br")).message


@pytest.mark.parametrize("target", ["/see/a%2Fb%28c%29?x=%7E&y=a%2Bb+c&e=&z=%e8", "/see/./a/../b//c?q='%27:"])
async def test_a_signed_url_is_asked_for_byte_for_byte(site: tuple[Site, str], target: str):
    """Also where a redirect leads to it."""
    _, url = site
    assert await fetch(url + target) == target.encode()
    assert await fetch(f"{url}/to?url={quote(url + target, safe='')}") == target.encode()


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


@pytest.mark.parametrize(("path", "code"), [("/endless", TOO_LARGE), ("/packed", TOO_LARGE)])
async def test_a_body_without_end_is_left_at_the_cap(site: tuple[Site, str], path: str, code: str):
    """Whether it goes on for ever or would unpack to any size."""
    tracemalloc.start()
    try:
        assert (await refusal(site[1] + path, bytes_max=2**20)).code == code
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


async def test_the_same_url_is_fetched_once_at_a_time(site: tuple[Site, str]):
    """For all who want it meanwhile; afterwards anew, because it may have changed."""
    served, url = site
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK))
    waiting = [asyncio.create_task(fetcher.fetch(url + "/gate", 10_000)) for _ in range(8)]
    await served.asked(1)
    served.gate.set()
    assert set(await asyncio.gather(*waiting)) == {b"x" * 1000}
    assert served.hits == ["/gate"]
    await fetcher.fetch(url + "/gate", 10_000)
    assert served.hits == ["/gate", "/gate"]
    await fetcher.close()


async def test_a_site_is_asked_by_a_few_connections_at_once(site: tuple[Site, str]):
    """However many images of it a request shows."""
    served, url = site
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK, connections_per_host_max=2))
    waiting = [asyncio.create_task(fetcher.fetch(f"{url}/gate?{i}", 10_000)) for i in range(8)]
    await served.asked(2)
    served.gate.set()
    await asyncio.gather(*waiting)
    assert (served.most_at_once, len(served.hits)) == (2, 8)
    await fetcher.close()


async def test_one_tenants_slow_sites_delay_nobody_else(site: tuple[Site, str]):
    """However many of its downloads wait; it has half of the connections."""
    served, url = site
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK, connections_max=4, connections_per_host_max=4))
    slow = [asyncio.create_task(fetcher.fetch(f"{url}/gate?{i}", 10_000, "a")) for i in range(8)]
    await served.asked(2)
    assert await asyncio.wait_for(fetcher.fetch(url + "/image", 10_000, "b"), 5) == b"x" * 1000
    served.gate.set()
    await asyncio.gather(*slow)
    assert served.most_at_once == 3
    await fetcher.close()


async def test_a_site_that_one_tenant_keeps_busy_is_open_to_others(site: tuple[Site, str]):
    """The few connections to a site are a tenant's; so is a download of the same URL."""
    served, url = site
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK, connections_per_host_max=1))
    first = asyncio.create_task(fetcher.fetch(url + "/gate", 10_000, "a"))
    await served.asked(1)
    second = asyncio.create_task(fetcher.fetch(url + "/gate", 10_000, "b"))
    await served.asked(2)
    served.gate.set()
    assert await asyncio.gather(first, second) == [b"x" * 1000] * 2
    await fetcher.close()


async def test_waiting_for_a_turn_is_no_part_of_a_downloads_time(site: tuple[Site, str]):
    """Whose turn comes late has all of its time."""
    served, url = site
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK, connections_max=1, timeout_s=1.0))
    slow = asyncio.create_task(fetcher.fetch(url + "/hang", 10_000))
    await served.asked(1)
    assert await fetcher.fetch(url + "/image", 10_000) == b"x" * 1000
    with pytest.raises(Fault):
        await slow
    await fetcher.close()


async def test_names_that_nobody_answers_for_delay_one_tenant(site: tuple[Site, str], monkeypatch: pytest.MonkeyPatch):
    """A lookup cannot be stopped: its thread stays away for as long as the name server likes."""
    known, release = socket.getaddrinfo, threading.Event()

    def look_up(host: str, *more: Any) -> Any:
        if host.endswith(".slow"):
            release.wait()
        return known("127.0.0.1", *more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("deployments.gateway.media.address.LOOKUPS_MAX", 2)
    fetcher = Fetcher(FetchLimits(allowed_networks=LOOPBACK, timeout_s=0.2))
    names = [fetcher.fetch(f"http://{i}.slow/", 10_000, "a") for i in range(4)]
    assert all(isinstance(failed, Fault) for failed in await asyncio.gather(*names, return_exceptions=True))
    quick = Fetcher(FetchLimits(allowed_networks=LOOPBACK))
    quick._session = fetcher._session  # the same threads, with more patience
    try:
        other = site[1].replace("127.0.0.1", "other.example")
        assert await asyncio.wait_for(quick.fetch(other + "/image", 10_000, "b"), 5) == b"x" * 1000
    finally:
        release.set()
    await fetcher.close()


class Changing:
    """A name server that leads to the site, and from its second answer on to another address of ours."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        address = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


async def test_a_name_is_resolved_once(site: tuple[Site, str], monkeypatch: pytest.MonkeyPatch):
    """The connection goes to the address that was checked, whatever the name server says next."""
    names = Changing("127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    url = site[1].replace("127.0.0.1", "changing.example") + "/image"
    assert await fetch(url, allowed_networks=("127.0.0.1/32",)) == b"x" * 1000
    assert names.asked == 1


async def test_a_redirect_is_resolved_anew(site: tuple[Site, str], monkeypatch: pytest.MonkeyPatch):
    """The same name, after a redirect, is a new connection: it is checked like the first."""
    served, url = site
    names = Changing("127.0.0.1", "127.0.0.2")
    monkeypatch.setattr(socket, "getaddrinfo", names)
    url = url.replace("127.0.0.1", "changing.example") + "/again/0"
    assert (await refusal(url, allowed_networks=("127.0.0.1/32",))).code == FAILED
    assert (names.asked, served.hits) == (2, ["/again/0"])


async def test_a_site_that_never_answers_costs_the_time_allowed(site: tuple[Site, str]):
    """The limit is on the whole download."""
    assert (await refusal(site[1] + "/hang", timeout_s=0.2)).code == FAILED


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "\uff11\uff12\uff17.0.0.1", "2130706433", "0x7f000001", "127.1", "0", "0177.0.0.1"],
)
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
    assert len({(error.code, error.message) for error in errors}) == 1
    assert "127.0.0.1" not in errors[0].message
    assert served.hits == ["/status/404", "/to"]
