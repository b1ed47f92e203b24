"""GIF: a screen, and blocks of which some are pictures on it (CompuServe, "Graphics Interchange Format, Version 89a")."""

import struct

from deployments.gateway.media.formats.anatomy import Anatomy, NotAnImage, TooManyParts

HEAD_BYTES = 13
EXTENSION, PICTURE, END = 0x21, 0x2C, 0x3B
CONTROL = 0xF9
CLEAR_FLAG = 0x01
# A picture of 20 MiB, in pieces of 255 bytes.
PIECES_MAX = 100_000


def read(data: bytes) -> Anatomy:
    """The first picture is the picture. Raises `Fault`."""
    if len(data) < HEAD_BYTES:
        raise NotAnImage
    screen_px = struct.unpack_from("<HH", data, 6)
    kept = [data[: HEAD_BYTES + _table_bytes(data[10])]]
    at, pieces, clear = len(kept[0]), 0, False
    while at < len(data) and data[at] == EXTENSION:
        start, kind = at, data[at + 1 : at + 2]
        at, more, _ = _skipped(data, at + 2)
        pieces += 1 + more
        if kind == bytes([CONTROL]) and at - start == 8:
            clear = bool(data[start + 3] & CLEAR_FLAG)
            kept[1:] = [data[start:at]]
        if pieces > PIECES_MAX:
            raise TooManyParts
    if at + 11 > len(data) or data[at] != PICTURE:
        raise NotAnImage
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
    end, _, whole = _skipped(data, at + 11 + _table_bytes(flags))
    width_px, height_px = max(screen_px[0], left + width), max(screen_px[1], top + height)
    if not width_px or not height_px:
        raise NotAnImage
    return Anatomy(b"".join([*kept, data[at:end], bytes([END])]), width_px, height_px, plain=not clear, whole=whole)


def _table_bytes(flags: int) -> int:
    """The size of a colour table."""
    return 3 * 2 ** ((flags & 0x07) + 1) if flags & 0x80 else 0


def _skipped(data: bytes, at: int) -> tuple[int, int, bool]:
    """Where pieces end that begin here, how many they are, and whether their end is there."""
    for pieces in range(PIECES_MAX + 1):
        if at >= len(data):
            return len(data), pieces, False
        size = data[at]
        at += 1 + size
        if not size:
            return at, pieces, True
    raise TooManyParts
