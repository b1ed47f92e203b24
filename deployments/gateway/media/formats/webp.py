"""WebP: a RIFF file of chunks, of which one or more are pictures (RFC 9649)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployments.gateway.media.formats.anatomy import (
    NOTES_MAX,
    PARTS_MAX,
    UPRIGHT,
    Anatomy,
    CutOff,
    NotAnImage,
    TooManyParts,
)
from deployments.gateway.media.formats.orientation import of_exif, of_xmp

HEAD_BYTES = 12
ALPHA_FLAG, MOVING_FLAG = 0x10, 0x02
LOSSY_START, LOSSLESS_START = b"\x9d\x01\x2a", 0x2F
SIDE_BITS = 14


@dataclass(slots=True)
class _Found:
    """`chunk`: the first picture's, as it stands in the file."""

    size: tuple[int, int] | None = None
    chunk: bytes = b""
    alpha: bool = False
    moving: bool = False
    orientations: list[int | None] = field(default_factory=list)


def read(data: bytes) -> Anatomy:
    """Raises `Fault`."""
    if len(data) < HEAD_BYTES or not data.startswith(b"RIFF"):
        raise NotAnImage
    size_bytes = min(8 + int.from_bytes(data[4:8], "little"), len(data))
    found = _Found()
    canvas: tuple[int, int] | None = None
    for name, content in _chunks(data, size_bytes):
        match name:
            case b"VP8X" if len(content) >= 10:
                found.alpha, found.moving = bool(content[0] & ALPHA_FLAG), bool(content[0] & MOVING_FLAG)
                canvas = 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
            case b"VP8 " | b"VP8L" if not found.chunk:
                _read_picture(found, name, content)
            case b"ANMF":
                found.chunk, found.moving = found.chunk or content, True
            case b"ALPH":
                found.alpha = True
            case b"EXIF" | b"XMP " if len(found.orientations) < NOTES_MAX:
                found.orientations.append((of_exif if name == b"EXIF" else of_xmp)(content))
    size = canvas or found.size
    if size is None or not found.chunk or (canvas and found.size not in (None, canvas)):
        raise NotAnImage
    plain = not found.alpha and not found.moving
    return Anatomy(
        _file(found.chunk if plain else data[HEAD_BYTES:size_bytes]),
        *size,
        plain=plain,
        orientation=next(filter(None, found.orientations), UPRIGHT),
    )


def _chunks(data: bytes, size_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each. Raises `CutOff`."""
    at = HEAD_BYTES
    for _ in range(PARTS_MAX):
        if at + 8 > size_bytes:
            return
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length
        if end > size_bytes:
            raise CutOff
        yield name, data[at + 8 : end]
        at = end + length % 2
    raise TooManyParts


def _read_picture(found: _Found, name: bytes, content: bytes) -> None:
    if name == b"VP8 " and content[3:6] == LOSSY_START:
        width, height = struct.unpack_from("<HH", content.ljust(10, b"\0"), 6)
        found.size = width & (1 << SIDE_BITS) - 1, height & (1 << SIDE_BITS) - 1
    elif name == b"VP8L" and content[:1] == bytes([LOSSLESS_START]):
        head = int.from_bytes(content[1:5], "little")
        found.size = 1 + head % (1 << SIDE_BITS), 1 + (head >> SIDE_BITS) % (1 << SIDE_BITS)
        found.alpha |= bool(head >> 2 * SIDE_BITS & 1)
    if not found.size or not all(found.size):
        raise NotAnImage
    found.chunk = name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _file(chunks: bytes) -> bytes:
    """A file of these chunks and nothing else, with its true size."""
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
