from typing import Any

import orjson
import pytest

from accounting.limits import LimitState
from deployments.gateway import answer
from deployments.gateway.bill import Bill, Usage
from deployments.gateway.errors import EngineFailed
from tests.gateway.engine_server import TEXT_TOKENS, VISION_TOKENS, chunks, whole
from tests.gateway.house import HOLD, PRICE, charge_nano

OWN_FIELDS = (b"kv_transfer_params", b"prompt_logprobs", b"token_ids", b"annotations", b"multimodal_tokens")


def parsed(event: bytes) -> dict[str, Any]:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    return orjson.loads(event.removeprefix(b"data: "))


async def test_usage_is_the_same_streamed_or_not(bill: Bill):
    """Field by field, the price included."""
    plain = orjson.loads(answer.whole(whole(), bill, bill.charge()))
    last = parsed(answer.usage_chunk(chunks()[-1], bill, bill.charge()))
    assert last["usage"] == plain["usage"]
    assert last["choices"] == []


async def test_the_tokens_add_up(bill: Bill):
    """Image and text are the prompt; prompt and output are the total."""
    usage = answer.usage_of(bill, bill.charge())
    details = usage["prompt_tokens_details"]
    assert (details["image_tokens"], details["text_tokens"]) == (VISION_TOKENS, TEXT_TOKENS)
    assert details["image_tokens"] + details["text_tokens"] + details["audio_tokens"] == usage["prompt_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert details["cached_tokens"] <= usage["prompt_tokens"]


async def test_the_price_stands_in_the_usage(bill: Bill):
    """In dollars for people and in integers for machines."""
    usage = answer.usage_of(bill, bill.charge())
    assert charge_nano(3) == usage["cost_details"]["charged_nano"] == 10_210
    assert usage["cost"] == 0.00001021
    assert usage["cost_details"]["hold_nano"] == HOLD.amount_nano
    assert usage["cost_details"]["unit_price_nano"] == PRICE.unit_nano
    assert (usage["images"], usage["units"], usage["price_version"]) == (1, 1, 1)


async def test_the_engines_own_fields_stay_with_us(bill: Bill):
    """Whole, chunk and usage chunk hold OpenAI's fields only."""
    sent = [
        answer.whole(whole(), bill, bill.charge()),
        answer.usage_chunk(chunks()[-1], bill, bill.charge()),
        *map(answer.chunk, chunks()),
    ]
    assert not [name for name in OWN_FIELDS for data in sent if name in data]
    assert orjson.loads(sent[0]).keys() == {"id", "object", "created", "model", "choices", "usage"}


def test_a_chunk_has_no_usage_of_its_own():
    """The engine counts in every chunk; the client gets one count, at the end."""
    assert [parsed(answer.chunk(chunk))["usage"] for chunk in chunks()[:-1]] == [None] * 4


def test_an_event_is_one_line_for_every_client():
    """httpx ends a line wherever Unicode does, and cuts an event in two there."""
    (said, *_) = chunks()
    said["choices"][0]["delta"]["content"] = "a\u2028b\u2029c\u0085d"
    sent = answer.chunk(said)
    assert len(sent.decode().splitlines()) == 2  # the event, and the empty line behind it
    assert parsed(sent)["choices"][0]["delta"]["content"] == "a\u2028b\u2029c\u0085d"


def test_an_answer_keeps_what_clients_read():
    """The choices, tool calls and log probabilities included."""
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}], "refusal": "No."}
    choice = {"index": 0, "message": message, "logprobs": {"content": []}, "finish_reason": "tool_calls"}
    kept = answer.trimmed({"id": "1", "choices": [choice | {"stop_reason": 7}]})["choices"][0]
    assert kept.pop("message") == {"role": "assistant", "tool_calls": [{"id": "1"}], "refusal": "No."}
    assert kept == {"index": 0, "logprobs": {"content": []}, "finish_reason": "tool_calls"}


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        ({}, Usage(0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, Usage(9, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(9, 2, 4)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"multimodal_tokens": {"image": 3, "video": 2}}},
            Usage(9, 0, 0, 5),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"multimodal_tokens": 5}}, Usage(9, 0, 0, 5)),
    ],
)
def test_every_engines_usage_is_read(data: dict[str, Any], usage: Usage):
    """What an engine does not count is 0, its vision tokens unknown."""
    assert answer.read_usage(data) == usage


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_001, "2s"),  # never too early
        (59_001, "1m0s"),
        (60_000, "1m0s"),
        (62_500, "1m3s"),
        (3_600_000, "60m0s"),
    ],
)
def test_a_duration_reads_as_openais(ms: int, said: str):
    """Milliseconds below a second, then whole seconds, rounded up."""
    assert answer.duration(ms) == said


@pytest.mark.parametrize(
    ("limits", "headers"),
    [
        ((), {}),
        ((LimitState(name="concurrency", limit=4, remaining=3, reset_ms=1_000),), {}),  # OpenAI has no name for it
        (
            (
                LimitState(name="images_per_minute", limit=60, remaining=58, reset_ms=20_000),
                LimitState(name="tokens_per_minute", limit=9, remaining=0, reset_ms=500),
            ),
            {
                "x-ratelimit-limit-images": "60",
                "x-ratelimit-remaining-images": "58",
                "x-ratelimit-reset-images": "20s",
                "x-ratelimit-limit-tokens": "9",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "500ms",
            },
        ),
    ],
)
def test_each_limit_of_a_minute_has_three_headers(limits: tuple[LimitState, ...], headers: dict[str, str]):
    """Its size, what is left of it, and when all of it is back; images beside OpenAI's requests and tokens."""
    assert {name.decode(): value.decode() for name, value in answer.limit_headers(limits)} == headers


def test_a_failure_is_told_in_both_habits():
    """openai-python raises on `error`; OpenRouter's clients read the finish reason."""
    failure = parsed(answer.failure_event("r", EngineFailed()))
    assert failure["id"] == "chatcmpl-r"
    assert failure["choices"][0]["finish_reason"] == "error"
    assert failure["error"].keys() == {"message", "type", "param", "code"}
