"""What an answer costs, and what the ledger says of it."""

import asyncio

import httpx

from tests.e2e.cluster import MODEL, about, asking, data_url, encoded, png, wait_until


def row_of(cluster, answer_id):
    request_id = answer_id.removeprefix("chatcmpl-")
    (row,) = (row for row in cluster.usage_rows() if row["request_id"] == request_id)
    return row


def test_usage_is_the_same_in_both_modes(client, held_out):
    """Streamed or whole, the usage is equal field by field."""
    whole = client.chat.completions.create(**about(held_out[0]))
    stream = client.chat.completions.create(**about(held_out[0]), stream=True, stream_options={"include_usage": True})
    *_, last = stream
    assert last.usage.model_dump() | {"prompt_tokens_details": None} == whole.usage.model_dump() | {
        "prompt_tokens_details": None
    }
    assert last.usage.prompt_tokens_details.image_tokens == whole.usage.prompt_tokens_details.image_tokens == 16


def test_one_usage_row_says_it_all(cluster, client, held_out):
    """Who, model, images, tokens, price version, nano-dollars, times, replica and outcome: one row a request."""
    answer = client.chat.completions.create(**about(held_out[0]))
    row = row_of(cluster, answer.id)
    assert row["key_id"] == f"key_{cluster.key.split('-')[2]}"
    assert (row["model"], row["images"], row["price_version"]) == (MODEL, 1, 1)
    assert row["vision_tokens"] == 16
    assert row["text_tokens"] == answer.usage.prompt_tokens - 16
    assert row["output_tokens"] == answer.usage.completion_tokens
    assert row["charged_nano"] == answer.usage.cost_details["charged_nano"] == 10_000
    assert answer.usage.cost == 0.00001
    assert 0 < row["ttft_ms"] <= row["latency_ms"]
    assert row["replica_id"]
    assert (row["outcome"], row["finish"]) == ("complete", "stop")


def test_the_price_is_in_the_headers(client, held_out):
    """What was held is known at once, what was charged with the whole answer."""
    response = client.chat.completions.with_raw_response.create(**about(held_out[0]))
    assert response.headers["x-vlm-hold-nanousd"] == "10000"
    assert response.headers["x-vlm-price-nanousd"] == "10000"
    assert response.parse().id == f"chatcmpl-{response.headers['x-vlm-request-id']}"


def test_more_output_costs_more_units(client, held_out):
    """Output beyond the free 512 tokens is held, and given back where it was not used."""
    response = client.chat.completions.create(**about(held_out[0]))
    assert response.usage.cost_details["hold_nano"] == response.usage.cost_details["charged_nano"]


async def test_a_client_that_leaves_in_the_middle_is_settled_and_the_engine_stops(cluster, held_out):
    """A disconnect is charged for what was sent, and frees the engine long before the answer's end."""
    example = held_out[0]
    body = about(example) | {"max_completion_tokens": 512, "ignore_eos": True, "stream": True}
    headers = {"authorization": f"Bearer {cluster.key}"}
    rows_before = len(cluster.usage_rows())
    async with (
        httpx.AsyncClient(base_url=cluster.url, headers=headers, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", content=encoded(body)) as response,
    ):
        seen = 0
        async for line in response.aiter_lines():
            seen += line.startswith("data: ")
            if seen == 5:
                break
    await asyncio.to_thread(wait_until, lambda: len(cluster.usage_rows()) > rows_before)
    row = cluster.usage_rows()[-1]
    assert row["outcome"] == "client_left"
    assert 4 <= row["output_tokens"] < 512
    assert row["charged_nano"] == 10_000
    await asyncio.to_thread(wait_until, lambda: cluster.engine_metric("vllm:num_requests_running") == 0)


async def test_a_client_that_leaves_before_the_first_byte_pays_nothing(cluster, held_out):
    """No answer, no charge."""
    body = about(held_out[0]) | {"max_completion_tokens": 512, "ignore_eos": True}
    rows_before = len(cluster.usage_rows())
    headers = {"authorization": f"Bearer {cluster.key}"}
    async with httpx.AsyncClient(base_url=cluster.url, headers=headers, timeout=60) as http:
        request = asyncio.create_task(http.post("/v1/chat/completions", content=encoded(body)))
        await asyncio.to_thread(wait_until, lambda: cluster.open_holds() > 0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    await asyncio.to_thread(wait_until, lambda: len(cluster.usage_rows()) > rows_before)
    row = cluster.usage_rows()[-1]
    assert (row["outcome"], row["charged_nano"]) == ("client_left_early", 0)
    await asyncio.to_thread(wait_until, lambda: cluster.engine_metric("vllm:num_requests_running") == 0)


def test_vision_tokens_are_the_engines_own(cluster, client, held_out):
    """What we count from width and height is what the engine counts, whatever the shape of the picture."""
    image = held_out[0].image
    for size in ((112, 112), (640, 480), (50, 700), (1920, 1080), (29, 31)):
        resized = type(held_out[0])(image.resize(size), "name", "?", "")
        messages = asking("What do you see?", data_url(png(resized)))
        answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)
        text_only = client.chat.completions.create(model=MODEL, messages=asking("What do you see?"), max_tokens=1)
        # Two delimiters surround an image.
        engine_count = answer.usage.prompt_tokens - text_only.usage.prompt_tokens - 2
        assert answer.usage.prompt_tokens_details.image_tokens == engine_count


def test_fleet_totals_are_the_ledgers(cluster, client, held_out):
    """`/metrics` shows to the operator what was charged, and to nobody else."""
    client.chat.completions.create(**about(held_out[0]))
    url = f"{cluster.url}/metrics"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"authorization": f"Bearer {cluster.key}"}).status_code == 403
    text = httpx.get(url, headers={"authorization": f"Bearer {cluster.admin_key}"}).text
    counted = sum(
        float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("vlmfleet_fleet_requests_total{")
    )
    assert counted == len(cluster.usage_rows())
