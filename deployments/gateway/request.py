"""The body of `POST /v1/chat/completions`: what is accepted, as data."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, ValidationError, model_validator

from deployments.gateway.errors import BadRequest
from deployments.gateway.form import Form, json_object, refusal

Detail = Literal["auto", "low", "high"]

# Empty ones cost nothing in bytes, but the engine's template walks all of them.
MESSAGES_MAX = 1000
PARTS_MAX = 1000


class Text(Form):
    type: Literal["text"]
    text: str


class ImageUrl(Form):
    url: str
    detail: Detail = "auto"


class Image(Form):
    type: Literal["image_url"]
    image_url: ImageUrl


class FileContent(Form):
    """An uploaded file by its id, or a file inline: a data URL or base64. `filename` is for people."""

    file_id: Annotated[str, Field(pattern=r"^file[-_][A-Za-z0-9_-]{1,100}$")] | None = None
    file_data: str | None = None
    filename: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file_id is None) == (self.file_data is None):
            raise ValueError("give exactly one of file_id and file_data")
        return self


class File(Form):
    type: Literal["file"]
    file: FileContent


class VideoUrl(Form):
    url: str


class Video(Form):
    type: Literal["video_url"]
    video_url: VideoUrl


class Refusal(Form):
    type: Literal["refusal"]
    refusal: str


Part = Annotated[Text | Image | File | Video | Refusal, Field(discriminator="type")]
Medium = Image | File | Video
PlainPart = Annotated[Text | Refusal, Field(discriminator="type")]


class _Message(Form):
    name: str | None = None


class UserMessage(_Message):
    role: Literal["user"]
    content: str | Annotated[list[Part], Field(min_length=1, max_length=PARTS_MAX)]


class SystemMessage(_Message):
    role: Literal["system", "developer"]
    content: str | Annotated[list[Text], Field(min_length=1)]


class ToolCallFunction(Form):
    name: str
    arguments: str


class ToolCall(Form):
    id: str
    type: Literal["function"]
    function: ToolCallFunction


class AssistantMessage(_Message):
    role: Literal["assistant"]
    content: str | list[PlainPart] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ToolMessage(_Message):
    role: Literal["tool"]
    tool_call_id: str
    content: str | Annotated[list[Text], Field(min_length=1)]


Message = Annotated[UserMessage | SystemMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


class StreamOptions(Form):
    include_usage: bool = False
    include_obfuscation: bool = False


class ChatRequest(Form):
    """A chat completion. The last group travels to the engine as it is, if the model's card lists it."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1, max_length=MESSAGES_MAX)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    n: Literal[1] = 1
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    stop_token_ids: list[int] | None = None
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
    """A request that was validated, beside the very data that was: what the engine gets is built from the latter."""

    request: ChatRequest
    data: dict[str, Any]


def parse(body: bytes) -> Chat:
    """Read a request. Raises `BadRequest`, which names the field at fault."""
    data = json_object(body)
    try:
        return Chat(ChatRequest.model_validate(data, strict=True), data)
    except ValidationError as error:
        raise refusal(error, data) from None


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
