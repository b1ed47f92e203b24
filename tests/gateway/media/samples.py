"""Small media of every kind, made here."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import av
import pybase64
from PIL import Image


def image(width: int = 112, height: int = 112, kind: str = "PNG", mode: str = "RGB", **options: Any) -> bytes:
    """A gradient."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(out, kind, **options)
    return out.getvalue()


def saved(shown: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    shown.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    *,
    rows: bytes | None = None,
    bits: int = 8,
    colours: int = 2,
    before: Sequence[tuple[bytes, bytes]] = (),
    after: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG from its parts: `rows` as they are before packing, and chunks before and after them."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    if rows is None:
        rows = bytes((3 * width + 1) * height)
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows, 9)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def pdf(pages: int = 1, size: tuple[int, int] = (200, 100), forms: int = 0) -> bytes:
    """Pages with a red left half; or with forms in forms, each drawn ten times by the one around it."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    content = "1 0 0 rg 0 0 100 100 re f" if not forms else "/F Do"
    objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    resources = "<< >>"
    for _ in range(forms):
        drawn = "/F Do " * 10 if resources != "<< >>" else "0 0 1 1 re f " * 10
        objects.append(
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 200 100] /Resources {resources} /Length {len(drawn)} >>\n"
            f"stream\n{drawn}\nendstream"
        )
        resources = f"<< /XObject << /F {len(objects)} 0 R >> >>"
    first = len(objects) + 1
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] /Contents 3 0 R /Resources {resources} >>"
    objects += [page] * pages
    kids = " ".join(f"{first + i} 0 R" for i in range(pages))
    objects[1] = f"<< /Type /Pages /Count {pages} /Kids [{kids}] >>"
    return _pdf_file(objects)


def filled_form() -> bytes:
    """A page of 200 x 100 points with a field on its right half, that was filled in: blue."""
    return _pdf_file(
        [
            "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [5 0 R] >> >>",
            "<< /Type /Pages /Count 1 /Kids [4 0 R] >>",
            "<< /Length 0 >>\nstream\n\nendstream",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 3 0 R /Annots [5 0 R] >>",
            "<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /V (b) /Rect [100 0 200 100] /F 4 /AP << /N 6 0 R >> >>",
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Length 21 >>\nstream\n0 0 1 rg 0 0 9 9 re f\nendstream",
        ]
    )


def _pdf_file(objects: list[str]) -> bytes:
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return bytes(out) + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


CODECS = {"mp4": "libx264", "webm": "libvpx-vp9", "gif": "gif"}


def clip(kind: str = "mp4", seconds: int = 2, frames_per_s: int = 10, size: tuple[int, int] = (64, 48)) -> bytes:
    """A clip that turns from black to white."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        stream = container.add_stream(CODECS[kind], rate=frames_per_s)
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if kind == "gif" else "yuv420p"
        frames = seconds * frames_per_s
        for i in range(frames):
            shade = Image.new("RGB", size, (255 * i // (frames - 1),) * 3)
            container.mux(stream.encode(av.VideoFrame.from_image(shade)))
        container.mux(stream.encode())
    return out.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{pybase64.b64encode_as_string(data)}"
