"""What a request asks for, within bounds: no value of any field is one that an engine could not compute with."""

from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import from_json

from . import schema
from .refusal import FieldRefused

NO_OBJECT = "The body is no JSON object."
# Below, a temperature divides logits to infinity, and vLLM chooses the likeliest token: so do we.
GREEDY_BELOW = 1e-5
# A smaller share of the probability is the likeliest token alone, as this one is.
TOP_P_MIN = 1e-5
# As many as a gateway lets through. What they cost is paid again at every token.
STOPS_MAX, STOP_CHARACTERS_MAX = 128, 16_384
STOP_TOKENS_MAX = 256

Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
Stop = Annotated[str, Field(min_length=1, max_length=STOP_CHARACTERS_MAX)]


class StreamOptions(BaseModel):
    """`continuous_usage_stats`: usage in every chunk."""

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    continuous_usage_stats: bool = False


class Asked(BaseModel):
    """A chat completion. The defaults are vLLM's, not an engine's own, and not those of a file beside the weights.

    Its validation context is the number of the model's tokens: neither `top_k` nor a token's id is above.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Annotated[int, Field(gt=0, lt=1 << 31)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    seed: Int64 | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS_MAX)] = []
    stop_token_ids: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=STOP_TOKENS_MAX)] = []
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    response_format: dict[str, Any] | None = None

    @field_validator("temperature")
    @classmethod
    def _greedy(cls, temperature: float) -> float:
        return 0.0 if temperature < GREEDY_BELOW else temperature

    @field_validator("top_p")
    @classmethod
    def _share(cls, top_p: float) -> float:
        return max(top_p, TOP_P_MIN)

    @field_validator("top_k")
    @classmethod
    def _no_more_than_there_are(cls, top_k: int, info: ValidationInfo) -> int:
        if info.context is not None and top_k > info.context:
            raise ValueError(f"Input should be at most {info.context}, the number of the model's tokens")
        return top_k

    @field_validator("stop_token_ids")
    @classmethod
    def _of_the_vocabulary(cls, ids: list[int], info: ValidationInfo) -> list[int]:
        if info.context is not None and any(token >= info.context for token in ids):
            raise ValueError(f"Inputs should be less than {info.context}, the number of the model's tokens")
        return ids

    @field_validator("response_format")
    @classmethod
    def _bounded(cls, response_format: dict[str, Any] | None) -> dict[str, Any] | None:
        if response_format is not None and (asked := schema.asked_of(response_format)) is not None:
            schema.check(asked)
        return response_format

    @model_validator(mode="after")
    def _ends_are_possible(self) -> Self:
        """What must go on and what must end cannot both be kept: no token would be allowed."""
        if self.min_tokens > self.max_tokens:
            raise FieldRefused("min_tokens", "Input should be at most max_tokens")
        if self.min_tokens and self.response_format and self.response_format.get("type") != "text":
            raise FieldRefused("min_tokens", "Input should be 0 beside a response_format, whose end is its own")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


A = TypeVar("A", bound=Asked)


def read(body: bytes, shape: type[A], vocabulary: int | None = None) -> A:
    """A field that is null was not said. `vocabulary` is the number of the model's tokens. Raises ValueError, of which
    pydantic's ValidationError and `FieldRefused` are kinds.
    """
    # Unlike json.loads it refuses what no engine can read: NaN, half a surrogate pair, nesting without end.
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(NO_OBJECT) from error
    if not isinstance(data, dict):
        raise ValueError(NO_OBJECT)  # noqa: TRY004  # of the body, not of an argument
    return shape.model_validate({name: value for name, value in data.items() if value is not None}, context=vocabulary)
