"""What a request says here beside what all our servers take."""

from typing import Annotated

from openai_chat.asked import Asked
from pydantic import BaseModel, ConfigDict, Field


class Rate(BaseModel):
    """Of a video that comes as frames: how many there are, and how many a second."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    num_frames: Annotated[int, Field(gt=0, le=10_000)] | None = None
    fps: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0


class MediaRead(BaseModel):
    """As vLLM has it."""

    model_config = ConfigDict(extra="forbid")

    video: Rate = Rate()


class VideoAsked(Asked):
    media_io_kwargs: MediaRead = MediaRead()

    @property
    def frames_per_s(self) -> float:
        return self.media_io_kwargs.video.fps
