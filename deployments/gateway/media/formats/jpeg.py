"""JPEG: segments, each a marker and mostly a length and content; behind a scan's segment lie its pixels (ITU-T T.81)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.formats.anatomy import NOTES_MAX, PARTS_MAX, UPRIGHT, Anatomy, NotAnImage, TooManyParts
from deployments.gateway.media.formats.orientation import of_exif, of_xmp

START, END, SCAN = 0xD8, 0xD9, 0xDA
APP0, APP1, APP14 = 0xE0, 0xE1, 0xEE
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Kinds of frame that every decoder knows: baseline, extended, progressive.
PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
# Of archives and medical devices: no browser shows them.
WITHOUT_LOSS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
# Tables, frames, scans, and what they need: DHT, DAC, DQT, DNL, DRI.
NEEDED = FRAMES | {0xC4, 0xCC, SCAN, 0xDB, 0xDC, 0xDD, END}
# What says how colours are to be read.
COLOUR_NOTES = {APP0: b"JFIF\0", APP14: b"Adobe"}
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# So much is searched at a time: Python runs no other thread meanwhile.
WINDOW_BYTES = 2**18
# A marker, but for those that stand alone within a scan; anything before it is passed over, as decoders do.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")


@dataclass(slots=True)
class _Found:
    frame: int = 0
    bits: int = 0
    width_px: int = 0
    height_px: int = 0
    colours: int = 0
    scans: int = 0
    whole: bool = False
    orientations: list[int | None] = field(default_factory=list)


def read(data: bytes) -> Anatomy:
    """Raises `Fault`."""
    found, notes = _Found(), set[int]()
    view = memoryview(data)
    kept = [view[:2]]
    for marker, start, end in _segments(data):
        if marker in FRAMES:
            _read_frame(found, marker, data[start + 4 : end])
        elif marker == APP1 and len(found.orientations) < NOTES_MAX:
            found.orientations.append(_orientation(data[start + 4 : end]))
        found.scans += marker == SCAN
        found.whole = marker == END
        note = COLOUR_NOTES.get(marker)
        if marker in NEEDED or (note and data.startswith(note, start + 4) and marker not in notes):
            notes.add(marker)
            kept.append(view[start:end])
        if found.whole:
            break
    if not found.width_px or not found.height_px or not found.scans:
        raise NotAnImage
    if found.bits != 8 or found.frame in WITHOUT_LOSS:
        raise Fault(
            "invalid_image_mode", "a JPEG of more than eight bits or without loss is not taken. Save it as usual"
        )
    return Anatomy(
        data if sum(map(len, kept)) == len(data) else b"".join(kept),
        found.width_px,
        found.height_px,
        plain=found.frame in PLAIN_FRAMES and found.colours in (1, 3),
        whole=found.whole,
        orientation=next(filter(None, found.orientations), UPRIGHT),
        passes=found.scans,
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each one's marker, where it begins and ends; a scan ends where its pixels do. The last may be cut off."""
    found = _next_marker(data, 2)
    for _ in range(PARTS_MAX):
        if found is None:
            return
        marker, start = found[1][0], found.start()
        end = start + 2 if marker in (START, END) else start + 2 + int.from_bytes(data[start + 2 : start + 4])
        found = _next_marker(data, max(end, start + 2))
        if marker == SCAN:
            end = found.start() if found else len(data)
        yield marker, start, min(end, len(data))
    raise TooManyParts


def _next_marker(data: bytes, at: int) -> re.Match[bytes] | None:
    for begin in range(at, len(data), WINDOW_BYTES):
        if found := _MARKER.search(data, begin, begin + WINDOW_BYTES + 1):
            return found
    return None


def _read_frame(found: _Found, marker: int, content: bytes) -> None:
    if found.frame or len(content) < 6:
        raise NotAnImage
    found.frame, found.bits, found.colours = marker, content[0], content[5]
    found.height_px, found.width_px = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])


def _orientation(content: bytes) -> int | None:
    if content.startswith(EXIF):
        return of_exif(content)
    return of_xmp(content) if content.startswith(XMP) else None
