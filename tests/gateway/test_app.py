import asyncio
import gzip
from typing import Any

import pytest

from deployments.gateway.life import ChatLimits
from tests.gateway.client import Client
from tests.gateway.engine_server import sends
from tests.gateway.house import House, question, running_house


async def get(house: House, path: str, key: str | None = None) -> Client:
    return await Client(key=house.key if key is None else key, path=path, method="GET").ask(house.app)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, None),
        ("POST", "/v1/completions", 404, None),
        ("GET", "/v1/chat/completions", 405, None),
        ("POST", "/v1/models", 405, None),
        ("DELETE", "/v1/models/demo", 405, None),
        ("GET", "/v1/models/gpt-5", 404, "model_not_found"),
        ("GET", "/metrics", 403, "scope_not_allowed"),
    ],
)
async def test_what_is_not_here_is_told_in_one_shape(
    house: House, method: str, path: str, status: int, code: str | None
):
    """Every refusal is JSON with OpenAI's four fields, and is counted by its status."""
    client = await Client(key=house.key, path=path, method=method).ask(house.app)
    assert (client.status, client.error["code"]) == (status, code)
    assert client.error.keys() == {"message", "type", "param", "code"}
    assert house.metrics.errors == [status]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/demo", "/metrics"])
@pytest.mark.parametrize("key", ["", "sk-vlm-x", "sk-vlm-000000000000-" + "0" * 48])
async def test_every_endpoint_with_data_asks_for_a_key(house: House, path: str, key: str):
    """All keys that do not work get one and the same answer."""
    client = await get(house, path, key)
    assert (client.status, client.error["code"]) == (401, "invalid_api_key")


async def test_a_key_is_asked_for_before_the_body_is_read(house: House):
    """Strangers cannot make us read or parse anything."""
    client = await Client(b"{" * 1000, "sk-vlm-x").ask(house.app)
    assert client.status == 401


async def test_a_manage_key_cannot_infer(house: House):
    """Scopes are not ranks."""
    client = await Client(question(), house.admin_key).ask(house.app)
    assert (client.status, client.error["code"]) == (403, "scope_not_allowed")


async def test_models_are_listed_and_found_by_every_name(house: House):
    """An id holds a slash, and an alias leads to the same card."""
    (listed,) = (await get(house, "/v1/models")).json["data"]
    for name in ("demo-qwen2-vl", "demo", "vlmfleet/demo-qwen2-vl"):
        assert (await get(house, f"/v1/models/{name}")).json == listed


async def test_a_key_sees_the_models_that_it_may_use(house: House):
    """Those that it may not are as if not there."""
    await house.change_key(models=("another-model",))
    assert (await get(house, "/v1/models")).json["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"{", 400, None, None),
        (question(model="gpt-5"), 404, "model_not_found", "model"),
        (question(frobnicate=1), 400, None, "frobnicate"),
        (question(max_tokens=513), 400, None, "max_tokens"),
        (question(max_completion_tokens=513, max_tokens=1), 400, None, "max_completion_tokens"),
        (question(messages=[{"role": "user", "content": "a" * 20_000}]), 400, "context_length_exceeded", "messages"),
        (
            question(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
            400,
            "invalid_image_url",
            "messages[0].content[0].image_url",
        ),
    ],
)
async def test_a_request_at_fault_holds_nothing(
    house: House, body: bytes, status: int, code: str | None, param: str | None
):
    """It is refused before there is a bill, and before the engine."""
    client = await house.ask(body)
    assert (client.status, client.error["code"], client.error["param"]) == (status, code, param)
    assert house.engine.asked == []
    assert await house.usage() == []


async def test_a_body_is_bounded_by_its_length_alone(house: House):
    """32 MiB by default."""
    client = await house.ask(question(), content_length=str(ChatLimits().body_bytes_max + 1))
    assert (client.status, client.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("answer", [b"{}", b'{"choices": [], "usage": {}}', b"[]"])
async def test_a_defect_is_a_500_without_details(house: House, answer: bytes):
    """What we did not foresee is logged whole, told as our fault, and free."""
    house.engine.behaves = sends(answer)
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (500, "server_error")
    assert b"Traceback" not in client.body
    (row,) = await house.usage()
    assert row["charged_nano"] == 0


async def test_health_asks_for_no_key(house: House):
    """The event loop answers: nothing else is meant by it."""
    assert (await get(house, "/healthz", "")).json == {"status": "ok"}
    assert (await get(house, "/readyz", "")).json == {"status": "ready"}


async def test_a_gateway_without_key_records_is_not_ready(house: House):
    """It lives, yet gets no traffic; whoever asks all the same is told 503, never 401."""
    house.keys.loaded = False
    assert (await get(house, "/healthz", "")).status == 200
    assert (await get(house, "/readyz", "")).status == 503
    client = await house.ask(question())
    assert (client.status, client.error["code"]) == (503, "ledger_unavailable")


async def test_fleet_totals_come_from_the_ledger(house: House):
    """In Prometheus' text format, for keys that manage."""
    await house.ask(question())
    client = await get(house, "/metrics", house.admin_key)
    assert client.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'vlmfleet_fleet_requests_total{model="demo-qwen2-vl",outcome="complete"} 1\n' in client.body
    await house.ledger.close(0)
    assert (await get(house, "/metrics", house.admin_key)).status == 503


async def test_the_lifespan_starts_and_stops_what_the_gateway_owns(house: House):
    """Serve waits for both; afterwards the ledger is hung up."""
    told = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[str] = []

    async def receive() -> dict[str, str]:
        return next(told)

    async def send(message: dict[str, str]) -> None:
        said.append(message["type"])

    await house.ledger.close(0)
    await asyncio.wait_for(house.app({"type": "lifespan"}, receive, send), 10)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not house.ledger.connected


async def test_a_websocket_is_refused_before_it_opens(house: House, caplog: pytest.LogCaptureFixture):
    """And is no defect of ours."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await house.app({"type": "websocket"}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert not caplog.records


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/nowhere"])
async def test_a_browser_may_ask_before_it_calls(house: House, path: str):
    """Without a key, of every path: what is wrong with the call its answer says, and the page can read it."""
    asked = await Client(path=path, method="OPTIONS", origin="http://localhost:5173").ask(house.app)
    assert (asked.status, asked.body) == (204, b"")
    assert asked.headers["access-control-allow-origin"] == "*"
    assert asked.headers["access-control-allow-headers"] == "authorization, *"
    refused = await Client(path=path, method="PATCH", origin="http://localhost:5173").ask(house.app)
    assert refused.status in (404, 405)
    assert refused.headers["access-control-allow-origin"] == "*"


async def test_an_answer_says_what_of_a_request_was_ignored(house: House):
    """And the engine does not see it."""
    client = await house.ask(question(verbosity="low", safety_identifier="u"))
    assert client.headers["x-vlm-ignored"] == "safety_identifier, verbosity"
    assert not house.engine.asked[0].keys() & {"verbosity", "safety_identifier"}
    assert "x-vlm-ignored" not in (await house.ask(question())).headers


async def test_a_request_may_be_compressed(house: House):
    """It is the same request: with the same key it is answered from what is stored."""
    headers = {"idempotency_key": "k"}
    assert (await house.ask(gzip.compress(question()), content_encoding="gzip", **headers)).status == 200
    assert (await house.ask(question(), **headers)).headers["x-idempotent-replay"] == "true"


async def test_a_head_is_answered_wherever_a_get_is(house: House):
    for path in ("/v1/models", "/v1/models/demo", "/healthz"):
        head, whole = [
            await Client(key=house.key, path=path, method=method).ask(house.app) for method in ("HEAD", "GET")
        ]
        assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


async def test_a_body_that_is_too_long_is_cut(tmp_path):
    """The operator's limit holds without a Content-Length too."""
    async with running_house(tmp_path, limits=ChatLimits(body_bytes_max=100)) as house:
        assert (await house.ask(question())).status == 413
