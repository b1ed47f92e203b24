"""ModelCard: everything vlmfleet knows about a model, as data. One YAML file a model; a misspelt field is refused."""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from catalog.data import Data, Positive
from catalog.markers import Marker, pattern_of
from catalog.vision import Vision

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Permission = Literal["yes", "conditional", "no"]
# A price with at most six decimals is a whole number of nano-dollars an image.
UsdPer1k = Annotated[Decimal, Field(ge=0, decimal_places=6)]
UsdPerHour = Annotated[Decimal, Field(ge=0, decimal_places=9)]

TOOL_PARAMETERS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
# The engine's flag without which it does not read a model's tool calls.
TOOL_PARSER = "tool-call-parser"


class Source(Data):
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


class Licence(Data):
    """What may be done with the weights, as their publisher says: guidance, not legal advice.

    `hosted_api` is about selling access to the model; what is not simply "yes" is explained by `conditions`.
    `gated_download`: the hub hands the weights out to accounts that have accepted the licence there.
    """

    name: str
    hosted_api: Permission
    commercial_use: Permission | None = None
    spdx: str | None = None
    conditions: tuple[str, ...] = ()
    gated_download: bool = False
    url: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if self.hosted_api != "yes" and not self.conditions:
            raise ValueError(f"hosted_api is {self.hosted_api!r}: say why in conditions")
        return self


class EngineChoice(Data):
    """The engine that serves the model. `options` are flags of its own server, added to those made from the card, and
    `environment` is variables of its process.
    """

    name: Literal["vllm", "lmdeploy", "transformers"]
    version: str
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    sequences_max: Positive = 64


class Accelerators(Data):
    """What one replica occupies. `kind: cpu` runs on the engine's CPU build, for development.

    `usd_per_hour` is the rent of one accelerator, or of a replica's share of the machine where the count is 0, and
    `source` says where the rate is from.
    """

    kind: str
    count: Annotated[int, Field(ge=0)] = 1
    usd_per_hour: UsdPerHour
    source: str | None = None

    @property
    def rent_nano_per_hour(self) -> int:
        """Nano-dollars that one replica costs an hour; exact, because the rate has at most nine decimals."""
        return int(self.usd_per_hour * 1_000_000_000) * max(1, self.count)

    @model_validator(mode="after")
    def _cpu_has_none(self) -> Self:
        if (self.kind == "cpu") != (self.count == 0):
            raise ValueError("count is 0 for kind cpu, and at least 1 for a GPU")
        return self


class Inputs(Data):
    """What one request may show. A PDF counts by its pages. A video is `frames_max` frames at most, and at most
    `frames_per_s`; there is one in a request, because engines take one rate of frames.
    """

    images_max: Annotated[int, Field(ge=0)] = 16
    video: bool = False
    frames_max: Positive = 16
    frames_per_s: Annotated[float, Field(gt=0, le=30)] = 2.0


class Limits(Data):
    """What one request may hold."""

    image_bytes_max: Positive = 20 * 2**20
    image_pixels_max: Positive = 50_000_000
    video_bytes_max: Positive = 64 * 2**20
    # What a frame is shrunk to.
    frame_pixels_max: Positive = 602_112
    text_bytes_max: Positive = 256 * 1024
    output_tokens_max: Positive
    output_tokens_default: Positive

    @model_validator(mode="after")
    def _default_within_max(self) -> Self:
        if self.output_tokens_default > self.output_tokens_max:
            raise ValueError("output_tokens_default is above output_tokens_max")
        return self


class Size(Data):
    """What the model consists of, counted from its configuration; what memory it needs follows, see `catalog/memory.py`.

    `tensor_parallel` is over how many accelerators its heads can be divided.
    """

    parameters: Positive
    bytes_per_parameter: Positive = 2
    kv_layers: Positive
    kv_heads: Positive
    kv_head_dim: Positive
    encoder_width: Positive
    tensor_parallel: tuple[Positive, ...] = (1,)


class Chat(Data):
    """How the model wants to be talked to, where an ordinary chat would do it harm.

    `system` is sent where a request has no system message of its own, and `sampling` where a request is silent.
    """

    system: str | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    sampling: dict[str, float] = Field(default_factory=dict)
    # A prefix model knows no turns: it gets the last user text alone.
    sends: Literal["conversation", "last_user_text"] = "conversation"
    # Written before each of several images, because no engine numbers them; {n} counts from 1.
    image_label: str | None = None
    # Markers of its tokenizer beside those of its family (`catalog/markers.py`): what people write has none of them.
    escapes: tuple[Marker, ...] = ()
    # A user's text that begins with one of these would start another task than a question.
    task_words: tuple[str, ...] = ()


class Grounding(Data):
    """How the model writes places of the image into its text; see `docs/catalog.md` for each format."""

    format: Literal["qwen2_vl", "qwen2_5_vl", "qwen_vl", "internvl2", "paligemma", "moondream"]
    boxes: bool = False
    points: bool = False
    masks: bool = False


class PriceBasis(Data):
    """Under which conditions a price was set, shown wherever the price is."""

    source: str
    gpu: str | None = None
    usd_per_gpu_hour: Decimal | None = None
    images_per_s: Decimal | None = None
    utilisation: Decimal | None = None
    waste: Decimal | None = None
    margin: Decimal | None = None
    date: str


class CardPrice(Data):
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


class Benchmark(Data):
    """A published figure: per cent, or points."""

    name: str
    value: float
    unit: Literal["percent", "points"] = "percent"
    source: str


class Question(Data):
    question: str
    answer: str


class Page(Data):
    """What a page about the model says beside its title and `about`. `related` are served names."""

    task: str
    architecture: str
    parameters: str
    capabilities: tuple[str, ...]
    best_for: tuple[str, ...]
    related: tuple[Slug, ...] = ()
    faq: tuple[Question, ...] = ()
    downloads_per_month: Positive | None = None


class Shutdown(Data):
    """From `date` on the model is not served here any more; `successor` is what to use instead."""

    date: date
    successor: Slug | None = None


class WorkCost(Data):
    """Seconds of one replica at full load that a request takes, by what it consists of: fitted to measurements."""

    request_s: Annotated[float, Field(ge=0)]
    patch_s: Annotated[float, Field(ge=0)] = 0.0
    vision_token_s: Annotated[float, Field(ge=0)]
    text_token_s: Annotated[float, Field(ge=0)]
    output_token_s: Annotated[float, Field(ge=0)]


class Autoscaling(Data):
    """Bounds of the autoscaler. `start_s` is how long a replica takes to start, until some were seen; `work` what requests
    cost, else that of a 7B model on an A100. `ongoing_requests_target` of a replica counts where nothing else decides.
    """

    replicas_min: Annotated[int, Field(ge=0)] = 1
    replicas_max: Positive = 1
    ongoing_requests_target: Positive = 16
    start_s: Annotated[float, Field(gt=0)] = 120.0
    work: WorkCost | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.replicas_min > self.replicas_max:
            raise ValueError("replicas_min is above replicas_max")
        return self


class Slo(Data):
    """What a request of this model should feel like; the gateway forms batches by it (`docs/batching.md`).

    TTFT may take `ttft_ms`, and longer for images; each output token after the first `tpot_ms`.
    """

    ttft_ms: Positive = 2000
    ttft_ms_per_vision_token: Annotated[float, Field(ge=0)] = 0.25
    tpot_ms: Positive = 100

    def answer_ms(self, vision_tokens: int, output_tokens: int) -> float:
        """How long the first `output_tokens` of an answer may take; with 1 that is TTFT."""
        ttft_ms = self.ttft_ms + self.ttft_ms_per_vision_token * vision_tokens
        return ttft_ms + self.tpot_ms * max(0, output_tokens - 1)


class ModelCard(Data):
    """One model of the catalog. `served_name` is what clients write in `model`; `aliases` work as well."""

    id: str
    served_name: Slug
    aliases: tuple[str, ...] = ()
    title: str
    about: str
    released: Month
    updated: Month | None = None
    shutdown: Shutdown | None = None
    source: Source
    licence: Licence
    engine: EngineChoice
    accelerators: Accelerators
    context_tokens: Positive
    # Rows of the embedding (`vocab_size` of its configuration): every token id is below.
    vocabulary_tokens: Positive
    inputs: Inputs = Inputs()
    limits: Limits
    vision: Vision
    size: Size | None = None
    chat: Chat = Chat()
    grounding: Grounding | None = None
    price: CardPrice
    benchmarks: tuple[Benchmark, ...] = ()
    page: Page | None = None
    autoscaling: Autoscaling = Autoscaling()
    slo: Slo = Slo()
    # Identical requests without chance in them, in flight at the same time, share one answer.
    coalesce: bool = True
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
        "ignore_eos",
        "min_tokens",
        "top_k",
        "min_p",
        "repetition_penalty",
        "stop_token_ids",
        "skip_special_tokens",
    )

    @model_validator(mode="after")
    def _tools_need_a_parser(self) -> Self:
        promised = TOOL_PARAMETERS & set(self.supported_parameters)
        if promised and TOOL_PARSER not in self.engine.options:
            raise ValueError(
                f"supported_parameters promises {', '.join(sorted(promised))}, but engine.options has no {TOOL_PARSER}"
            )
        return self

    @property
    def names(self) -> frozenset[str]:
        """Every name under which a request may ask for this model."""
        return frozenset({self.id, self.served_name, *self.aliases})

    @property
    def markers(self) -> re.Pattern[str]:
        """What its tokenizer and its engine would read as structure; see `catalog/markers.py`."""
        return pattern_of(self.vision.family, self.chat.escapes)


def _token_nano(usd_per_1m: Decimal) -> int:
    return int(usd_per_1m * 1000)
