"""How a camera was held, as EXIF and XMP say it: 1 to 8, of which 1 is upright."""

import re
import struct

from deployments.gateway.media.formats.anatomy import UPRIGHT

TAG = 0x0112
ENTRY_BYTES = 12
ENTRIES_MAX = 1_000
# How EXIF writes whole numbers, by its number for their type.
NUMBERS = {1: "B", 3: "H", 4: "I"}
BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_XMP = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")


def of_exif(exif: bytes) -> int | None:
    """None where it does not say. `exif` begins with its byte order, or with "Exif"."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = BYTE_ORDERS.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + ENTRY_BYTES * min(entries, ENTRIES_MAX), ENTRY_BYTES):
            tag, kind = struct.unpack_from(order + "HH", exif, at)
            if tag == TAG:
                (found,) = struct.unpack_from(order + NUMBERS[kind], exif, at + 8)
                return _valid(found)
    except (struct.error, KeyError):
        pass  # cut off, or no number
    return None


def of_xmp(xmp: bytes) -> int | None:
    """None where it does not say."""
    found = _XMP.search(xmp)
    return int(found[1]) if found else None


def _valid(orientation: int) -> int:
    """What makes no sense is upright, as engines have it."""
    return orientation if 1 <= orientation <= 8 else UPRIGHT
