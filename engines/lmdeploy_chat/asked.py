"""What a request asks for."""

import json
import os
from typing import Annotated, Any

from lmdeploy.messages import GenerationConfig
from pydantic import BaseModel, ConfigDict, Field

# A seed is 64 bits to LMDeploy, and any integer to its callers.
SEED_BOUND = 1 << 64

Stop = Annotated[str, Field(min_length=1)]


class StreamOptions(BaseModel):
    """`continuous_usage_stats`: usage in every chunk."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Asked(BaseModel):
    """A chat completion. The defaults are vLLM's, not LMDeploy's, and not those of a file beside the weights."""

    model_config = ConfigDict(extra="forbid")

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(gt=0)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    seed: int | None = None
    stop: Stop | list[Stop] = []
    stop_token_ids: list[int] = []
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    response_format: dict[str, Any] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


def read(body: bytes) -> Asked:
    """A field that is null was not said. Raises ValueError, of which pydantic's ValidationError is a kind."""
    data = json.loads(body)
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004  # of the body, not of an argument
    return Asked.model_validate({name: value for name, value in data.items() if value is not None})


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
