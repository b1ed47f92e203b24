"""The body of `POST /v1/chat/completions`: what is accepted, as data."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import AfterValidator, Field, ValidationError, model_validator

from deployments.gateway.errors import BadRequest
from deployments.gateway.form import Form, Identifier, Metadata, NullableForm, entries_max, json_object, refusal
from deployments.gateway.schema_bounds import Sizes, check_schema

Detail = Literal["auto", "low", "high", "original"]

# Empty ones cost nothing in bytes, but the engine's template walks all of them. The first one that is faulty is
# told, and no more are looked at (`fail_fast`).
MESSAGES_MAX = 1000
PARTS_MAX = 1000
# Parts and tool calls of all messages: each takes some 20 microseconds to read, while nothing else runs.
PARTS_TOGETHER_MAX = 2000
# OpenAI's.
TOOLS_MAX = 128
# An engine looks for each of them after each token.
STOPS_MAX = 128
STOP_CHARACTERS_MAX = 16_384
LOGIT_BIAS_MAX = 1024
# Below it a temperature divides by almost nothing, and the most likely token is chosen anyway; a `top_p` leaves one token.
SMALLEST = 1e-5
# Of a signed integer of 64 bits, which is what engines take.
SEED_MAX = 2**63 - 1

# A field that is taken and not acted upon; the answer's header `x-vlm-ignored` names it.
IGNORED: Any = Field(default=None, exclude=True)


class _Part(NullableForm):
    cache_control: Any = IGNORED
    prompt_cache_breakpoint: Any = IGNORED


class Text(_Part):
    type: Literal["text"]
    text: str


class ImageUrl(NullableForm):
    url: str
    detail: Detail = "auto"


class Image(_Part):
    type: Literal["image_url"]
    image_url: ImageUrl


class FileContent(NullableForm):
    """An uploaded file by its id, or a file inline: a data URL or base64. `filename` is for people."""

    file_id: Annotated[str, Field(pattern=r"^file[-_][A-Za-z0-9_-]{1,100}$")] | None = None
    file_data: str | None = None
    filename: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file_id is None) == (self.file_data is None):
            raise ValueError("give exactly one of file_id and file_data")
        return self


class File(_Part):
    type: Literal["file"]
    file: FileContent


class VideoUrl(NullableForm):
    url: str


class Video(_Part):
    type: Literal["video_url"]
    video_url: VideoUrl


class Refusal(_Part):
    type: Literal["refusal"]
    refusal: str


Part = Annotated[Text | Image | File | Video | Refusal, Field(discriminator="type")]
Medium = Image | File | Video
PlainPart = Annotated[Text | Refusal, Field(discriminator="type")]


class _Message(NullableForm):
    name: str | None = None
    cache_control: Any = IGNORED


class UserMessage(_Message):
    role: Literal["user"]
    content: str | Annotated[list[Part], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True)]


class SystemMessage(_Message):
    role: Literal["system", "developer"]
    content: str | Annotated[list[Text], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True)]


class ToolCallFunction(NullableForm):
    name: str
    arguments: str
    parsed_arguments: Any = IGNORED


class ToolCall(NullableForm):
    """`index` is left over from a stream."""

    id: str
    type: Literal["function"]
    function: ToolCallFunction
    index: Any = IGNORED


class AssistantMessage(_Message):
    """An answer as SDKs give it back, with all that they and we put beside its text."""

    role: Literal["assistant"]
    content: str | Annotated[list[PlainPart], Field(max_length=PARTS_MAX, fail_fast=True)] | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=TOOLS_MAX, fail_fast=True)] | None = None
    # Ours.
    boxes: Any = IGNORED
    points: Any = IGNORED
    reasoning: Any = IGNORED
    reasoning_content: Any = IGNORED
    # OpenAI's SDKs, OpenRouter's and LiteLLM's.
    annotations: Any = IGNORED
    parsed: Any = IGNORED
    reasoning_details: Any = IGNORED
    thinking_blocks: Any = IGNORED
    provider_specific_fields: Any = IGNORED


class ToolMessage(_Message):
    role: Literal["tool"]
    tool_call_id: str
    content: str | Annotated[list[Text], Field(min_length=1, max_length=PARTS_MAX, fail_fast=True)]


Message = Annotated[UserMessage | SystemMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class StreamOptions(NullableForm):
    """Usage is in the last chunk; an engine would put it into every one."""

    include_usage: bool = False
    include_obfuscation: bool = False
    continuous_usage_stats: Any = IGNORED


class TextFormat(NullableForm):
    type: Literal["text"]


class JsonObjectFormat(NullableForm):
    type: Literal["json_object"]


class JsonSchema(NullableForm):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class JsonSchemaFormat(NullableForm):
    type: Literal["json_schema"]
    json_schema: JsonSchema


class PlacesFormat(NullableForm):
    """Ours: see `docs/grounding.md`."""

    type: Literal["boxes", "points"]


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat | PlacesFormat, Field(discriminator="type")]


class Function(NullableForm):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(NullableForm):
    type: Literal["function"]
    function: Function
    cache_control: Any = IGNORED


class FunctionName(NullableForm):
    name: str


class NamedTool(NullableForm):
    type: Literal["function"]
    function: FunctionName


def _or_greedy(temperature: float) -> float:
    return 0.0 if temperature < SMALLEST else temperature


Stop = Annotated[str, Field(min_length=1, max_length=STOP_CHARACTERS_MAX)]
TokenId = Annotated[int, Field(ge=0)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Hint = Annotated[str, Field(max_length=256)]


class ChatRequest(NullableForm):
    """A chat completion. The last group travels to the engine, if the model's card lists it (`parameters.py`)."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MESSAGES_MAX, fail_fast=True)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    n: Literal[1] = 1
    user: Identifier | None = None
    metadata: Metadata | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None

    # OpenAI's, without a meaning here.
    safety_identifier: Annotated[Identifier | None, IGNORED]
    prompt_cache_key: Annotated[Identifier | None, IGNORED]
    prompt_cache_retention: Annotated[Hint | None, IGNORED]
    prompt_cache_options: Any = IGNORED
    verbosity: Annotated[Hint | None, IGNORED]
    reasoning_effort: Annotated[Hint | None, IGNORED]
    modalities: Annotated[Annotated[list[Literal["text"]], Field(max_length=1)] | None, IGNORED]
    prediction: Any = IGNORED
    # OpenRouter's.
    usage: Any = IGNORED
    provider: Any = IGNORED
    models: Any = IGNORED

    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(_or_greedy)] | None = None
    top_p: Annotated[float, Field(ge=SMALLEST, le=1)] | None = None
    seed: Annotated[int, Field(ge=-SEED_MAX, le=SEED_MAX)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=STOPS_MAX)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]],
            entries_max(LOGIT_BIAS_MAX),
        ]
        | None
    ) = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=TOOLS_MAX, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=STOPS_MAX)] | None = None
    skip_special_tokens: bool | None = None

    @property
    def output_tokens_asked(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def media(self) -> list[tuple["Place", Medium]]:
        """Every image, file and video with its place in the body, in order."""
        return [
            (Place(i, j, part.type), part)
            for i, message in enumerate(self.messages)
            if isinstance(message.content, list)
            for j, part in enumerate(message.content)
            if isinstance(part, Medium)
        ]

    def text_bytes(self) -> int:
        """UTF-8 bytes of all text that becomes prompt, an upper bound of its tokens for a byte-level tokenizer."""
        return sum(map(_text_bytes, self.messages)) + len(encoded([self.tools, self.response_format]))


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a body a part stands. `type` is also the name of the field that holds its content."""

    message: int = 0
    part: int = 0
    type: str = "image_url"

    @property
    def param(self) -> str:
        """The path that an error names."""
        return f"messages[{self.message}].content[{self.part}].{self.type}"


# Ours to decide; never passed on from the body.
OWN_FIELDS = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "user",
        "metadata",
        "store",
        "service_tier",
    }
)


def encoded(data: Any) -> bytes:
    """JSON to send on. Raises `BadRequest` for what orjson reads but does not write: some hundred levels of nesting."""
    try:
        return orjson.dumps(data, default=dict)
    except orjson.JSONEncodeError as error:
        raise BadRequest("The request is nested too deeply. Send flatter tools or schemas.") from error


@dataclass(frozen=True, slots=True)
class Chat:
    """A request, and as data what of it is acted upon: what the engine gets is built from that. `ignored`: what is not."""

    request: ChatRequest
    data: dict[str, Any]
    ignored: tuple[str, ...] = ()


def parse(body: bytes) -> Chat:
    """Read a request. Raises `BadRequest`, which names the field at fault."""
    data = json_object(body)
    _check_parts(data.get("messages"))
    try:
        request = ChatRequest.model_validate(data, strict=True)
    except ValidationError as error:
        raise refusal(error, data) from None
    _check_choice(request)
    _check_schemas(request)
    acted_upon = request.model_dump(by_alias=True, exclude_unset=True)
    return Chat(request, acted_upon, tuple(sorted(set(_ignored(request)))))


def _check_parts(messages: Any) -> None:
    """Count before anything is made of them; what they are is looked at later."""
    several = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    lists = [message.get(name) for message in several for name in ("content", "tool_calls")]
    if sum(len(parts) for parts in lists if isinstance(parts, list)) > PARTS_TOGETHER_MAX:
        raise BadRequest(
            f"The messages have more than {PARTS_TOGETHER_MAX} parts and tool calls. Send fewer.", param="messages"
        )


def _check_choice(request: ChatRequest) -> None:
    """Fields that say something only beside another."""
    names = {tool.function.name for tool in request.tools or ()}
    match request.tool_choice:
        case "required" if not names:
            raise BadRequest("'tool_choice' asks for a tool, and 'tools' has none.", param="tool_choice")
        case NamedTool(function=named) if named.name not in names:
            raise BadRequest(
                "'tool_choice' names a tool that 'tools' does not have.", param="tool_choice.function.name"
            )
    if request.top_logprobs and not request.logprobs:
        raise BadRequest("'top_logprobs' needs 'logprobs' to be true.", param="top_logprobs")


def _check_schemas(request: ChatRequest) -> None:
    sizes = Sizes()
    if isinstance(request.response_format, JsonSchemaFormat):
        check_schema(request.response_format.json_schema.schema_, "response_format.json_schema.schema", sizes)
    for i, tool in enumerate(request.tools or ()):
        if tool.function.parameters is not None:
            check_schema(tool.function.parameters, f"tools[{i}].function.parameters", sizes)


def _ignored(form: Form, path: str = "") -> Iterator[str]:
    """`messages[].annotations`: every ignored field that was sent, by its path without indices."""
    for name in form.model_fields_set:
        value = getattr(form, name)
        if name in _ignored_names(type(form)):
            yield path + name
        elif isinstance(value, Form):
            yield from _ignored(value, f"{path}{name}.")
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Form):
                    yield from _ignored(item, f"{path}{name}[].")


@lru_cache
def _ignored_names(form: type[Form]) -> frozenset[str]:
    return frozenset(name for name, field in form.model_fields.items() if field.exclude)


def _text_bytes(message: Message) -> int:
    size = len((message.name or "").encode())
    if isinstance(message, AssistantMessage):
        size += len(encoded([message.tool_calls, message.refusal]))
    if isinstance(message.content, str):
        return size + len(message.content.encode())
    for part in message.content or ():
        if isinstance(part, Text):
            size += len(part.text.encode())
        elif isinstance(part, Refusal):
            size += len(part.refusal.encode())
    return size
