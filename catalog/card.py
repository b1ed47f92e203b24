"""ModelCard: everything vlmfleet knows about a model, as data. One YAML file a model; a misspelt field is refused."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Positive = Annotated[int, Field(gt=0)]
# A price with at most six decimals is a whole number of nano-dollars an image.
UsdPer1k = Annotated[Decimal, Field(ge=0, decimal_places=6)]
UsdPerHour = Annotated[Decimal, Field(ge=0, decimal_places=9)]


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Family(StrEnum):
    """The vision-token formulas, see `catalog/vision_tokens.py`."""

    QWEN2_VL = "qwen2_vl"


class Source(_Data):
    """Where the weights come from: exactly one of a path in the checkout, a hub id and an S3 URL."""

    path: str | None = None
    hub: str | None = None
    s3: Annotated[str, StringConstraints(pattern=r"^s3://")] | None = None
    revision: str | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(place is not None for place in (self.path, self.hub, self.s3)) != 1:
            raise ValueError("give exactly one of path, hub and s3")
        if self.hub and not self.revision:
            raise ValueError("a hub model needs a revision, so that every replica serves the same weights")
        return self


class Licence(_Data):
    name: str
    hosted_api: Literal["yes", "conditional", "no"]
    url: str | None = None


class EngineChoice(_Data):
    """The engine that serves the model. `options` are flags of its own server, added to those made from the card, and
    `environment` is variables of its process.
    """

    name: Literal["vllm"]
    version: str
    options: dict[str, str | int | float | bool] = {}
    environment: dict[str, str] = {}
    sequences_max: Positive = 64


class Accelerators(_Data):
    """What one replica occupies. `kind: cpu` runs on the engine's CPU build, for development.

    `usd_per_hour` is the rent of one accelerator, or of a replica's share of the machine where the count is 0.
    """

    kind: str
    count: Annotated[int, Field(ge=0)] = 1
    usd_per_hour: UsdPerHour

    @property
    def rent_nano_per_hour(self) -> int:
        """Nano-dollars that one replica costs an hour; exact, because the rate has at most nine decimals."""
        return int(self.usd_per_hour * 1_000_000_000) * max(1, self.count)

    @model_validator(mode="after")
    def _cpu_has_none(self) -> Self:
        if (self.kind == "cpu") != (self.count == 0):
            raise ValueError("count is 0 for kind cpu, and at least 1 for a GPU")
        return self


class Inputs(_Data):
    images_max: Annotated[int, Field(ge=0)] = 16
    video: bool = False


class Limits(_Data):
    """What one request may hold."""

    image_bytes_max: Positive = 20 * 2**20
    image_pixels_max: Positive = 50_000_000
    text_bytes_max: Positive = 256 * 1024
    output_tokens_max: Positive
    output_tokens_default: Positive

    @model_validator(mode="after")
    def _default_within_max(self) -> Self:
        if self.output_tokens_default > self.output_tokens_max:
            raise ValueError("output_tokens_default is above output_tokens_max")
        return self


class Vision(_Data):
    """The formula of the family, and the pixels to which the model's processor is set."""

    family: Family
    pixels_min: Positive
    pixels_max: Positive

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pixels_min > self.pixels_max:
            raise ValueError("pixels_min is above pixels_max")
        return self


class PriceBasis(_Data):
    """Under which conditions a price was set, shown wherever the price is."""

    source: str
    gpu: str | None = None
    usd_per_gpu_hour: Decimal | None = None
    images_per_s: Decimal | None = None
    utilisation: Decimal | None = None
    waste: Decimal | None = None
    margin: Decimal | None = None
    date: str


class CardPrice(_Data):
    """One immutable version of the model's price; change anything and raise `version`."""

    version: Positive
    state: Literal["estimate", "measured"]
    usd_per_1k_images: UsdPer1k
    batch_usd_per_1k_images: UsdPer1k
    usd_per_1m_text_tokens: UsdPer1k = Decimal(0)
    usd_per_1m_output_tokens: UsdPer1k = Decimal(0)
    basis: PriceBasis

    @property
    def unit_nano(self) -> int:
        """Nano-dollars a unit; exact, because the price per 1k has at most six decimals."""
        return int(self.usd_per_1k_images * 1_000_000)

    @property
    def batch_unit_nano(self) -> int:
        return int(self.batch_usd_per_1k_images * 1_000_000)

    @property
    def text_token_nano(self) -> int:
        return _token_nano(self.usd_per_1m_text_tokens)

    @property
    def output_token_nano(self) -> int:
        return _token_nano(self.usd_per_1m_output_tokens)

    @model_validator(mode="after")
    def _whole_nano_dollars(self) -> Self:
        for name in ("usd_per_1m_text_tokens", "usd_per_1m_output_tokens"):
            if (getattr(self, name) * 1000) % 1:
                raise ValueError(f"{name} has at most three decimals: a token costs whole nano-dollars")
        return self


class Benchmark(_Data):
    name: str
    value: float
    source: str


class Autoscaling(_Data):
    replicas_min: Annotated[int, Field(ge=0)] = 1
    replicas_max: Positive = 1
    ongoing_requests_target: Positive = 16

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.replicas_min > self.replicas_max:
            raise ValueError("replicas_min is above replicas_max")
        return self


class ModelCard(_Data):
    """One model of the catalog. `served_name` is what clients write in `model`; `aliases` work as well."""

    id: str
    served_name: Slug
    aliases: tuple[str, ...] = ()
    title: str
    about: str
    released: Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    source: Source
    licence: Licence
    engine: EngineChoice
    accelerators: Accelerators
    context_tokens: Positive
    inputs: Inputs = Inputs()
    limits: Limits
    vision: Vision
    price: CardPrice
    benchmarks: tuple[Benchmark, ...] = ()
    autoscaling: Autoscaling = Autoscaling()
    supported_parameters: tuple[str, ...] = (
        "temperature",
        "top_p",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "ignore_eos",
        "min_tokens",
        "top_k",
        "min_p",
        "repetition_penalty",
        "stop_token_ids",
        "skip_special_tokens",
    )

    @property
    def names(self) -> frozenset[str]:
        """Every name under which a request may ask for this model."""
        return frozenset({self.id, self.served_name, *self.aliases})


def _token_nano(usd_per_1m: Decimal) -> int:
    return int(usd_per_1m * 1000)
