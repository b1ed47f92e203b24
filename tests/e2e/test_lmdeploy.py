"""InternVL2 on LMDeploy behind the same gateway: streams, stops and money are those of every other model."""

from typing import Any

import openai
import pytest

from demo.generate import HELD_OUT_SEED, examples
from tests.e2e.cluster import MODELS, Cluster, about, wait_until

MODEL = MODELS[1]
# What one picture of the demo is.
VISION_TOKENS = 16


def asked(seed: int, **fields: Any) -> dict[str, Any]:
    (example,) = examples(HELD_OUT_SEED + seed, 1)
    return about(example, MODEL) | fields


def test_an_image_is_answered_and_priced_by_its_tiles(client: openai.OpenAI, cluster: Cluster):
    """The engine's own count is ours, and the ledger has it."""
    answer = client.chat.completions.create(**asked(1))
    assert answer.choices[0].message.content
    assert answer.usage.prompt_tokens_details.image_tokens == VISION_TOKENS
    assert answer.usage.prompt_tokens == VISION_TOKENS + answer.usage.prompt_tokens_details.text_tokens
    row = cluster.usage_rows()[-1]
    assert (row["vision_tokens"], row["output_tokens"]) == (VISION_TOKENS, answer.usage.completion_tokens)
    assert row["model"] == MODEL


def test_a_stream_is_the_same_answer(client: openai.OpenAI):
    """Text, usage and price."""
    whole = client.chat.completions.create(**asked(2))
    parts = list(client.chat.completions.create(**asked(2), stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage


def test_a_stop_is_not_in_the_answer(client: openai.OpenAI):
    """Any text can be one, as on vLLM."""
    text = client.chat.completions.create(**asked(3)).choices[0].message.content
    stopped = client.chat.completions.create(**asked(3), stop=[text[-1]]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (text[: text.index(text[-1])], "stop")


def test_who_leaves_a_stream_pays_for_what_was_sent(client: openai.OpenAI, cluster: Cluster):
    """The prompt exactly, although LMDeploy itself counts at the end of a stream only."""
    text_tokens = client.chat.completions.create(**asked(4)).usage.prompt_tokens - VISION_TOKENS
    before = len(cluster.usage_rows())
    forever = asked(4, max_completion_tokens=512, stream=True, extra_body={"ignore_eos": True})
    with client.chat.completions.create(**forever) as stream:
        for _, _ in zip(range(5), stream, strict=False):
            pass
    wait_until(lambda: len(cluster.usage_rows()) > before and not cluster.open_holds())
    row = cluster.usage_rows()[-1]
    assert row["outcome"] == "client_left"
    assert 0 < row["output_tokens"] < 512
    assert (row["vision_tokens"], row["text_tokens"]) == (VISION_TOKENS, text_tokens)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logprobs": True}, "does not take 'logprobs'"),
        ({"max_completion_tokens": 512, "messages": [{"role": "user", "content": "a" * 16_000}]}, "context"),
    ],
)
def test_what_cannot_be_is_refused_before_it_costs(client: openai.OpenAI, fields: dict[str, Any], message: str):
    """In the words of every other model."""
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(**asked(5, **fields))
