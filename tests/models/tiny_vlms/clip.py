"""A clip of three seconds, in the containers that people send. For an environment that has PyAV."""

import random
from pathlib import Path

import av
from PIL import Image

WIDTH_PX, HEIGHT_PX, FPS, SECONDS = 320, 240, 10, 3
CONTAINERS = {"clip.mp4": ("mpeg4", "yuv420p"), "clip.webm": ("libvpx", "yuv420p"), "clip.gif": ("gif", "rgb8")}


def write(folder: Path) -> None:
    """One colour a second."""
    for name, (codec, pixels) in CONTAINERS.items():
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, pixels
            for index in range(FPS * SECONDS):
                colour = tuple(random.Random(index // FPS).randbytes(3))
                frame = av.VideoFrame.from_image(Image.new("RGB", (WIDTH_PX, HEIGHT_PX), colour))
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
