import io
import struct
from collections.abc import Sequence

import av
import pytest
from PIL import Image

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.reader import Found
from deployments.gateway.media.video import read
from tests.gateway.media.samples import clip


def frames(data: bytes, frames_max: int = 8, frames_per_s: float = 2, pixels_max: int = 10**6) -> list[Image.Image]:
    _, jpegs = found(data, frames_max, frames_per_s, pixels_max)
    return [Image.open(io.BytesIO(jpeg)) for jpeg in jpegs]


def found(
    data: bytes,
    frames_max: int = 8,
    frames_per_s: float = 2,
    frame_pixels_max: int = 10**6,
    clip_pixels_max: int = 10**7,
) -> Found:
    return read(data, frames_max, frames_per_s, frame_pixels_max, clip_pixels_max)


def shown_at(times_s: Sequence[float], kind: str = "matroska") -> bytes:
    """A clip that is red on the left, with a frame at each of these times."""
    shade = Image.new("RGB", (64, 48))
    shade.paste("red", (0, 0, 32, 48))
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width, stream.height = shade.size
        stream.pix_fmt = "yuv420p"
        for at_s in times_s:
            frame = av.VideoFrame.from_image(shade)
            frame.pts = int(at_s * 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
@pytest.mark.parametrize(
    ("seconds", "frames_max", "frames_per_s", "count", "rate"),
    [
        (2, 8, 2, 4, 2),
        (4, 8, 2, 8, 2),
        (8, 8, 2, 8, 1),  # half as many a second, to the end
        (40, 8, 2, 8, 0.2),
        (2, 8, 1, 2, 1),
        (2, 1, 2, 1, 2),  # of one there is no rate
    ],
)
def test_frames_are_evenly_spaced(
    kind: str, seconds: int, frames_max: int, frames_per_s: float, count: int, rate: float
):
    """At the rate that is asked for, or further apart where there would be too many."""
    told, jpegs = found(clip(kind, seconds), frames_max, frames_per_s)
    assert (told["frames"], len(list(jpegs))) == (count, count)
    assert told["frames_per_s"] == pytest.approx(rate, rel=0.1)


def test_frames_come_in_order_from_all_of_the_clip():
    """It turns from black to white."""
    shades = [image.convert("L").getpixel((10, 10)) for image in frames(clip(seconds=40))]
    assert shades == sorted(shades)
    assert shades[0] < 20
    assert shades[-1] > 200


def test_a_duration_that_is_a_lie_makes_no_difference():
    """Frames that become too many are thinned out, evenly."""
    data = bytearray(clip(seconds=40))
    at = data.index(b"mvhd") + 20  # version and flags, two times, then the time scale
    data[at : at + 4] = (1).to_bytes(4)
    told, _ = found(bytes(data))
    assert 4 <= told["frames"] <= 8
    assert told["frames_per_s"] == pytest.approx(0.2, rel=0.3)


def test_a_clip_with_fewer_frames_than_asked_for_gives_them_all():
    """At their own rate."""
    told, _ = found(shown_at([0, 5, 10, 15]), frames_per_s=2)
    assert told["frames"] == 4
    assert told["frames_per_s"] == pytest.approx(0.2)


def test_a_clip_is_turned_upright():
    """A telephone that was held upright says how far its pictures lie on their side."""
    data = bytearray(shown_at([0], kind="mp4"))
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (upright,) = frames(bytes(data))
    assert upright.size == (48, 64)
    above, below = upright.getpixel((24, 10)), upright.getpixel((24, 54))
    assert above[0] > 200
    assert below[0] < 50


def test_a_frame_is_shrunk_to_its_pixels():
    """Keeping its shape."""
    (first, *_) = frames(clip(size=(320, 160)), pixels_max=12_800)
    assert first.size == (160, 80)


def test_a_clip_is_bounded_in_pixels():
    """Before a frame is decoded."""
    assert found(clip(size=(64, 48)), clip_pixels_max=64 * 48)[0]["frames"] == 4
    with pytest.raises(Fault) as refused:
        found(clip(size=(64, 48)), clip_pixels_max=64 * 48 - 1)
    assert refused.value.code == "image_too_large"


def test_sound_alone_is_no_video():
    """There is nothing to see."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44_100)
        sound = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        sound.sample_rate = 44_100
        sound.planes[0].update(bytes(sound.planes[0].buffer_size))
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(Fault) as refused:
        found(out.getvalue())
    assert refused.value.code == "invalid_image_format"


@pytest.mark.parametrize("kept", [100, 1_000])
def test_a_clip_that_is_cut_off_is_refused(kept: int):
    """An MP4's table of contents is at its end."""
    with pytest.raises(Fault) as refused:
        found(clip()[:kept])
    assert refused.value.code == "image_parse_error"
