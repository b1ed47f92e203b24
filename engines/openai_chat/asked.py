"""What a request asks for."""

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Stop = Annotated[str, Field(min_length=1)]


class StreamOptions(BaseModel):
    """`continuous_usage_stats`: usage in every chunk."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Asked(BaseModel):
    """A chat completion. The defaults are vLLM's, not an engine's own, and not those of a file beside the weights."""

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


A = TypeVar("A", bound=Asked)


def read(body: bytes, shape: type[A]) -> A:
    """A field that is null was not said. Raises ValueError, of which pydantic's ValidationError is a kind."""
    data = json.loads(body)
    if not isinstance(data, dict):
        raise ValueError("not an object")  # noqa: TRY004  # of the body, not of an argument
    return shape.model_validate({name: value for name, value in data.items() if value is not None})
