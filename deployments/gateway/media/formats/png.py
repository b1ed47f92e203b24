"""PNG: a signature, and chunks of a length, a name, content and a checksum (W3C, "PNG Specification, Third Edition")."""

import struct
import zlib
from collections.abc import Iterator

from deployments.gateway.media.formats.anatomy import NOTES_MAX, PARTS_MAX, UPRIGHT, Anatomy, NotAnImage, TooManyParts
from deployments.gateway.media.formats.orientation import of_exif, of_xmp

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Length, name and checksum.
FRAME_BYTES = 12
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
# Bits of a sample, by the kind of colours; and those that become eight in the same way everywhere.
BITS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGB_ALPHA: (8, 16)}
PLAIN_BITS = {GREY: (1, 2, 4, 8), RGB: (8, 16), PALETTE: (1, 2, 4, 8)}
CLEARABLE = frozenset({GREY, RGB, PALETTE})
# An orientation is in the first kilobytes of what is packed here; more is not unpacked.
NOTE_BYTES_MAX = 2**18
XMP_NAME = b"XML:com.adobe.xmp\0"
RAW_EXIF_NAME = b"Raw profile type exif\0"
# The chunks that may say how the camera was held, and how they begin then.
NOTES = {b"eXIf": b"", b"iTXt": XMP_NAME, b"zTXt": RAW_EXIF_NAME, b"tEXt": RAW_EXIF_NAME}


def read(data: bytes) -> Anatomy:
    """Raises `Fault`."""
    chunks = _chunks(data)
    name, start, end = next(chunks, (b"", 0, 0))
    if name != b"IHDR" or not _sound(data, start, end) or end - start != FRAME_BYTES + 13:
        raise NotAnImage
    width_px, height_px, bits, colours, *_ = struct.unpack_from(">IIBB", data, start + 8)
    if bits not in BITS.get(colours, ()) or not width_px or not height_px:
        raise NotAnImage
    kept = [(0, end)]
    orientations: list[int | None] = []
    clear = whole = pixels = False
    for name, start, end in chunks:
        match name:
            case b"IDAT":
                pixels = True
            case b"IEND":
                whole = True
            case b"PLTE" | b"tRNS" if not pixels and _sound(data, start, end):
                clear |= name == b"tRNS" and colours in CLEARABLE
            case _:
                if not pixels and len(orientations) < NOTES_MAX and data.startswith(NOTES.get(name, ()), start + 8):
                    orientations.append(_orientation(name, data[start + 8 : end - 4]))
                continue
        kept.append((start, end))
        if whole:
            break
    return Anatomy(
        _joined(data, kept),
        width_px,
        height_px,
        plain=bits in PLAIN_BITS.get(colours, ()) and not clear,
        whole=whole,
        orientation=next(filter(None, orientations), UPRIGHT),
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk, where it begins and ends; the last one may be cut off."""
    at = len(SIGNATURE)
    for _ in range(PARTS_MAX):
        if at + FRAME_BYTES > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + FRAME_BYTES + length
        yield name, at, min(end, len(data))
        at = end
    raise TooManyParts


def _sound(data: bytes, start: int, end: int) -> bool:
    """Whether a chunk has the checksum that it should have. Raises `NotAnImage` if not: a picture hangs on it."""
    content = memoryview(data)[start + 4 : end - 4]
    if zlib.crc32(content) != int.from_bytes(data[end - 4 : end]):
        raise NotAnImage
    return True


def _orientation(name: bytes, content: bytes) -> int | None:
    note = content[len(NOTES[name]) :]
    match name:
        case b"eXIf":
            return of_exif(note)
        case b"iTXt":  # whether it is packed, how, a language, a translated name, and the text
            text = note[2:].split(b"\0", 2)[-1]
            return of_xmp(_unpacked(text) if note[:1] == b"\1" else text)
        case b"zTXt":
            return of_exif(_raw_profile(_unpacked(note[1:])))
    return of_exif(_raw_profile(note))


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, NOTE_BYTES_MAX)
    except zlib.error:
        return b""


def _raw_profile(note: bytes) -> bytes:
    """ImageMagick's form: an empty line, a name, a length, and hexadecimal digits in lines."""
    try:
        return bytes.fromhex(b"".join(note.split(b"\n", 3)[3:]).decode())
    except ValueError:
        return b""


def _joined(data: bytes, pieces: list[tuple[int, int]]) -> bytes:
    if sum(end - start for start, end in pieces) == len(data):
        return data
    view = memoryview(data)
    return b"".join(view[start:end] for start, end in pieces)
