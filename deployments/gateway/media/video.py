"""Frames of a video. Runs as a process of its own: `python -m deployments.gateway.media.video`."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.kind import container_of
from deployments.gateway.media.reader import Found, main

CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "gif"})
JPEG_QUALITY = 90
# Frames that lie further apart are looked for from the nearest key frame, not by decoding all between them.
SEEK_AHEAD_S = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame, upright, and when it is shown."""

    at_s: float
    image: Image.Image


def read(data: bytes, frames_max: int, frames_per_s: float, frame_pixels_max: int, clip_pixels_max: int) -> Found:
    """At most `frames_max` frames as JPEG, evenly spaced, `frames_per_s` or fewer, all of one size of at most
    `frame_pixels_max`. Raises `Fault`, also for a clip of more than `clip_pixels_max` pixels a frame.
    """
    try:
        with av.open(io.BytesIO(data), "r", format=container_of(data)) as clip:
            stream = _stream(clip, clip_pixels_max)
            shown = _sampled(clip, stream, frames_max, frames_per_s, frame_pixels_max)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        raise _damaged() from error
    if not shown:
        raise _damaged()
    found = {
        "frames": len(shown),
        "width_px": shown[0].image.width,
        "height_px": shown[0].image.height,
        "frames_per_s": _rate(shown, frames_per_s),
    }
    return found, (_jpeg(frame.image.resize(shown[0].image.size)) for frame in shown)


def _stream(clip: InputContainer, clip_pixels_max: int) -> VideoStream:
    if not clip.streams.video or clip.streams.video[0].codec_context.name not in CODECS:
        raise Fault("invalid_image_format", "there is no video in it that is read here. Send H.264, VP9, AV1 or GIF")
    stream = clip.streams.video[0]
    codec = stream.codec_context
    if codec.width * codec.height > clip_pixels_max:
        raise Fault("image_too_large", f"it has more than {clip_pixels_max} pixels a frame. Send a smaller one")
    codec.options = {"max_pixels": str(clip_pixels_max)}
    codec.thread_count = 1
    return stream


def _sampled(
    clip: InputContainer, stream: VideoStream, frames_max: int, frames_per_s: float, pixels_max: int
) -> list[Shown]:
    """Frames at even times. Where the duration is not known, or a lie, every other one is dropped as they become too
    many, so that they are even all the same.
    """
    interval_s = max(1 / frames_per_s, (clip.duration or 0) / av.time_base / frames_max)
    kept: list[Shown] = []
    next_s = 0.0
    frames = clip.decode(stream)
    while (frame := _next(frames, next_s)) is not None:
        at_s = frame.time or 0.0
        kept.append(Shown(at_s, _upright(frame, pixels_max)))
        if len(kept) > frames_max:
            kept, interval_s = kept[::2], 2 * interval_s
        next_s = max(next_s, kept[-1].at_s - interval_s / 2) + interval_s
        if next_s - at_s > SEEK_AHEAD_S and clip.format.name != "gif":
            clip.seek(int(next_s * av.time_base))
            frames = clip.decode(stream)
    return kept


def _next(frames: Iterator[VideoFrame], from_s: float) -> VideoFrame | None:
    """The first frame that is shown at this time or later."""
    return next((frame for frame in frames if (frame.time or 0.0) >= from_s), None)


def _upright(frame: VideoFrame, pixels_max: int) -> Image.Image:
    shrink = min(1.0, sqrt(pixels_max / (frame.width * frame.height)))
    size = max(1, int(frame.width * shrink)), max(1, int(frame.height * shrink))
    image: Image.Image = frame.to_image(width=size[0], height=size[1])  # type: ignore[no-untyped-call]  # it has no types
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _rate(shown: list[Shown], frames_per_s: float) -> float:
    """Frames a second of what is kept."""
    lasts_s = shown[-1].at_s - shown[0].at_s
    return (len(shown) - 1) / lasts_s if lasts_s > 0 else frames_per_s


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def _damaged() -> Fault:
    return Fault("image_parse_error", "the video is cut off or damaged")


if __name__ == "__main__":
    main(read)
