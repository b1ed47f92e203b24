"""What all parts of a card are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]


class Data(BaseModel):
    """A part of a card: it never changes, and a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
