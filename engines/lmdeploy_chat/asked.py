"""What a request asks for, as LMDeploy wants it."""

import json
import os
from typing import Any

from lmdeploy.messages import GenerationConfig
from openai_chat.asked import Asked

# A seed is 64 bits to LMDeploy, and any integer to its callers.
SEED_BOUND = 1 << 64


def sampling(asked: Asked) -> GenerationConfig:
    """As LMDeploy's engines take it."""
    greedy = asked.temperature == 0
    return GenerationConfig(
        max_new_tokens=asked.max_tokens,
        min_new_tokens=asked.min_tokens,
        do_sample=True,
        temperature=1.0 if greedy else asked.temperature,
        top_k=1 if greedy else max(0, asked.top_k),
        top_p=asked.top_p,
        min_p=asked.min_p,
        repetition_penalty=asked.repetition_penalty,
        random_seed=None if asked.seed is None else asked.seed % SEED_BOUND,
        stop_token_ids=asked.stop_token_ids or None,
        ignore_eos=asked.ignore_eos,
        skip_special_tokens=asked.skip_special_tokens,
        response_format=asked.response_format,
    )


def messages(asked: Asked) -> list[dict[str, Any]]:
    """As LMDeploy's templates take them: parts only of users, every image under the card's settings."""
    return [
        message | {"content": _users(content) if message.get("role") == "user" else _joined(content)}
        if isinstance(content := message.get("content"), list)
        else message
        for message in asked.messages
    ]


def _users(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What else an image says of itself, its tiles or pixels, would undo the card's settings, so it is left out."""
    settings = json.loads(os.environ["LMDEPLOY_IMAGE"])
    return [
        part | {"image_url": {"url": part["image_url"]["url"]} | settings} if "image_url" in part else part
        for part in parts
    ]


def _joined(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")
