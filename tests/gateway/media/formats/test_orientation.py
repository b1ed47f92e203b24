import struct
import zlib

import pytest
from PIL import Image

from deployments.gateway.media.formats import jpeg, png, webp
from deployments.gateway.media.formats.orientation import of_exif, of_xmp
from tests.gateway.media import samples


def exif(orientation: int, order: str = "<", kind: str = "H") -> bytes:
    """With a software's name before it."""
    number = {"B": 1, "H": 3, "I": 4}[kind]
    entries = struct.pack(order + "HHI4s", 0x0131, 2, 4, b"abc\0")
    entries += struct.pack(order + "HHI" + kind, 0x0112, number, 1, orientation).ljust(12, b"\0")
    return {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIH", 42, 8, 2) + entries


XMP = b'<rdf:Description tiff:Orientation="6"/>'


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", "BHI")
@pytest.mark.parametrize(("orientation", "read"), [(1, 1), (6, 6), (8, 8), (0, 1), (9, 1)])
def test_exif_says_how_the_camera_was_held(order: str, kind: str, orientation: int, read: int):
    """In both orders of bytes, and in any whole number; what makes no sense is upright."""
    assert of_exif(exif(orientation, order, kind)) == read
    assert of_exif(b"Exif\0\0" + exif(orientation, order, kind)) == read


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        exif(6)[:30],
        b"JUNK" + exif(6),
        exif(6).replace(b"\x12\1\3", b"\x12\1\7"),
    ],
)
def test_exif_that_says_nothing_is_none(data: bytes):
    """Cut off, pointing nowhere, or of another type."""
    assert of_exif(data) is None


@pytest.mark.parametrize(
    ("xmp", "read"),
    [(XMP, 6), (b"<tiff:Orientation>8</tiff:Orientation>", 8), (b"tiff:Orientation='3'", 3), (b"", None),
     (b'tiff:Orientation="0"', None)],
)  # fmt: skip
def test_xmp_says_it_as_well(xmp: bytes, read: int | None):
    """As an attribute or an element."""
    assert of_xmp(xmp) == read


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(content)) + content


def jpeg_with(*segments: bytes) -> bytes:
    data = samples.image(kind="JPEG")
    return data[:2] + b"".join(segments) + data[2:]


RAW = b"\nexif\n      32\n" + (b"Exif\0\0" + exif(6)).hex().encode() + b"\n"
SAID = {
    "JPEG, EXIF": (jpeg.read, jpeg_with(segment(0xE1, b"Exif\0\0" + exif(6)))),
    "JPEG, XMP": (jpeg.read, jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP))),
    "JPEG, XMP after EXIF that does not say": (
        jpeg.read,
        jpeg_with(segment(0xE1, b"Exif\0\0"), segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
    ),
    "PNG, EXIF": (png.read, samples.png(8, 8, before=((b"eXIf", exif(6)),))),
    "PNG, XMP": (png.read, samples.png(8, 8, before=((b"iTXt", b"XML:com.adobe.xmp\0\0\0en\0\0" + XMP),))),
    "PNG, packed XMP": (
        png.read,
        samples.png(8, 8, before=((b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(XMP)),)),
    ),
    "PNG, ImageMagick's note": (png.read, samples.png(8, 8, before=((b"tEXt", b"Raw profile type exif\0" + RAW),))),
    "PNG, its packed note": (
        png.read,
        samples.png(8, 8, before=((b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW)),)),
    ),
    "WebP, EXIF": (webp.read, samples.saved(Image.new("RGB", (8, 8)), "WEBP", exif=exif(6))),
    "WebP, XMP": (webp.read, samples.saved(Image.new("RGB", (8, 8)), "WEBP", xmp=XMP)),
}


@pytest.mark.parametrize(("read", "data"), SAID.values(), ids=SAID)
def test_it_is_found_wherever_a_file_says_it(read, data: bytes):
    """And is no part of what goes on."""
    anatomy = read(data)
    assert anatomy.orientation == 6
    assert read(anatomy.content).orientation == 1
