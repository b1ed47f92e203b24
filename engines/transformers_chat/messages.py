"""Messages as this server takes them. What it does not know of a part, as `detail`, is left out."""

from typing import Annotated, Any, Literal

from openai_chat.refusal import FieldRefused, refusal
from pydantic import BaseModel, Field, TypeAdapter, ValidationError


class Address(BaseModel):
    url: str


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: Address


class VideoPart(BaseModel):
    type: Literal["video_url"]
    video_url: Address


Part = Annotated[TextPart | ImagePart | VideoPart, Field(discriminator="type")]


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str | Annotated[list[Part], Field(min_length=1)]

    @property
    def parts(self) -> list[TextPart | ImagePart | VideoPart]:
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content


MESSAGES = TypeAdapter(list[Message])


def messages(data: list[dict[str, Any]]) -> list[Message]:
    """Raises `FieldRefused`."""
    try:
        return MESSAGES.validate_python(data)
    except ValidationError as error:
        raise FieldRefused("messages", refusal(error)[0]) from error


def parts(conversation: list[Message]) -> list[TextPart | ImagePart | VideoPart]:
    """Of all messages, in order."""
    return [part for message in conversation for part in message.parts]
