"""Images and videos out of data URLs. Nothing is ever fetched, and no path is read."""

import base64
import binascii
from dataclasses import dataclass
from io import BytesIO

import av
import numpy as np
from openai_chat.picture import upright_on_white
from openai_chat.refusal import FieldRefused
from PIL import Image

FRAME_SEPARATOR = ","
# As vLLM has it: a list of JPEGs, which are the frames of a video.
FRAMES_TYPE = "video/jpeg"


class BadMedia(FieldRefused):
    """Told to the caller."""

    def __init__(self, words: str) -> None:
        super().__init__("messages", words)


@dataclass(frozen=True, slots=True)
class Video:
    """`frames` is (frames, height, width, 3); `indices` are theirs among all `frames_total`, which are `fps` a second."""

    frames: np.ndarray
    fps: float
    indices: list[int]
    frames_total: int


def image(url: str) -> Image.Image:
    """Raises `BadMedia`."""
    _, data = _data(url)
    try:
        return upright_on_white(_decoded(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadMedia("Failed to load image: cannot identify image") from error


def video(url: str, frames_max: int, fps: float, frames_per_s: float) -> Video:
    """At most `frames_max` frames, evenly spread: of a file `fps` a second, of frames, which are `frames_per_s`, all. Raises
    `BadMedia`.
    """
    kind, data = _data(url)
    try:
        if kind == FRAMES_TYPE:
            return _of_frames(
                [upright_on_white(_decoded(part)) for part in data.split(FRAME_SEPARATOR)], frames_max, frames_per_s
            )
        return _of_file(_decoded(data), frames_max, fps)
    except (OSError, ValueError, SyntaxError, IndexError, av.FFmpegError, Image.DecompressionBombError) as error:
        raise BadMedia("Failed to load video: cannot decode it") from error


def _data(url: str) -> tuple[str, str]:
    """Its type, and what follows the comma."""
    head, comma, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise BadMedia("Media must be data: URLs in base64: nothing is fetched here.")
    return head.removeprefix("data:").removesuffix(";base64"), data


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise OSError("not base64") from error


def _of_frames(frames: list[Image.Image], frames_max: int, frames_per_s: float) -> Video:
    indices = _spread(len(frames), min(len(frames), frames_max))
    return Video(np.stack([np.asarray(frames[index]) for index in indices]), frames_per_s, indices, len(frames))


def _of_file(data: bytes, frames_max: int, fps: float) -> Video:
    total, rate = _measured(data)
    wanted = min(frames_max, max(1, round(total / rate * fps)))
    indices = _spread(total, min(total, wanted))
    with av.open(BytesIO(data)) as container:
        chosen = set(indices)
        frames = [
            frame.to_ndarray(format="rgb24") for index, frame in enumerate(container.decode(video=0)) if index in chosen
        ]
    return Video(np.stack(frames), rate, indices[: len(frames)], total)


def _measured(data: bytes) -> tuple[int, float]:
    """Frames and frames a second. Counted: not every container says."""
    with av.open(BytesIO(data)) as container:
        stream = container.streams.video[0]
        total = sum(packet.size > 0 for packet in container.demux(stream))
        rate = float(stream.average_rate or stream.guessed_rate or 0)
    if not (total and rate > 0):
        raise ValueError("no frames")
    return total, rate


def _spread(total: int, wanted: int) -> list[int]:
    """So many indices from the first to the last of `total`."""
    return sorted({int(index) for index in np.linspace(0, total - 1, wanted)})
