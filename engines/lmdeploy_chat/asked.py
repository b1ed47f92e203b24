"""What a request asks for, as LMDeploy wants it."""

import json
import os
from typing import Any

from lmdeploy.messages import GenerationConfig
from openai_chat.asked import Asked
from openai_chat.refusal import FieldRefused

# A seed is not negative to LMDeploy.
SEED_BOUND = 1 << 63
ROLES = ("system", "developer", "user", "assistant", "tool")


def vocabulary(config: Any) -> int:
    """How many tokens the model computes the likelihood of, from its configuration: beside a vision tower, its language
    model's. What picks one of them by a number above would end the engine.
    """
    inner = getattr(config, "llm_config", None) or getattr(config, "text_config", None) or config
    return int(inner["vocab_size"] if isinstance(inner, dict) else inner.vocab_size)


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
    """As LMDeploy's templates take them: parts only of users, every image under the card's settings. Raises `FieldRefused`."""
    for message in asked.messages:
        _check(message)
    return [
        message | {"content": _users(content) if message.get("role") == "user" else _joined(content)}
        if isinstance(content := message.get("content"), list)
        else message
        for message in asked.messages
    ]


def _check(message: dict[str, Any]) -> None:
    """What LMDeploy reads of a message is there, and of its kind."""
    content = message.get("content")
    if message.get("role") not in ROLES:
        raise FieldRefused("messages", f"a role is one of {', '.join(ROLES)}")
    if not (content is None or isinstance(content, str | list)):
        raise FieldRefused("messages", "a content is a text or a list of parts")
    for part in content if isinstance(content, list) else ():
        if not _is_part(part):
            raise FieldRefused("messages", "a part is a text or an image_url")


def _is_part(part: Any) -> bool:
    match part:
        case {"type": "text", "text": str()} | {"type": "image_url", "image_url": {"url": str()}}:
            return True
    return False


def _users(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What else an image says of itself, its tiles or pixels, would undo the card's settings, so it is left out."""
    settings = json.loads(os.environ["LMDEPLOY_IMAGE"])
    return [
        part | {"image_url": {"url": part["image_url"]["url"]} | settings} if "image_url" in part else part
        for part in parts
    ]


def _joined(parts: list[dict[str, Any]]) -> str:
    return "\n".join(part["text"] for part in parts if part.get("type") == "text")
