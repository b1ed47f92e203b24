"""What a file is, by its first bytes. Nothing that a caller says about it is believed."""

# Where each kind of image says so.
IMAGES = {"PNG": (0, b"\x89PNG\r\n\x1a\n"), "JPEG": (0, b"\xff\xd8\xff"), "WEBP": (8, b"WEBP"), "GIF": (0, b"GIF8")}
# Programs put a byte order mark, blank lines or the head of a mail before it: readers look so far.
PDF, PDF_WITHIN_BYTES = b"%PDF-", 1024
# The container of a video is told to FFmpeg, never guessed by it: some that it knows are lists of other files and
# addresses to open.
CONTAINERS = {"mp4": (4, b"ftyp"), "matroska": (0, b"\x1aE\xdf\xa3"), "gif": (0, b"GIF8")}


def image_format(data: bytes) -> str | None:
    """Pillow's name of an image's format; None for one that is not taken."""
    return _kind(data, IMAGES)


def is_pdf(data: bytes) -> bool:
    return image_format(data) is None and PDF in data[:PDF_WITHIN_BYTES]


def container_of(data: bytes) -> str | None:
    """FFmpeg's name of a video's container; None for one that is not taken."""
    return _kind(data, CONTAINERS)


def _kind(data: bytes, kinds: dict[str, tuple[int, bytes]]) -> str | None:
    return next((name for name, (at, magic) in kinds.items() if data.startswith(magic, at)), None)
