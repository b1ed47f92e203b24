"""What a file is, by its first bytes. Nothing that a caller says about it is believed."""

PDF = b"%PDF-"
# The container of a video is told to FFmpeg, never guessed by it: some that it knows are lists of other files and
# addresses to open.
CONTAINERS = {"mp4": (4, b"ftyp"), "matroska": (0, b"\x1aE\xdf\xa3"), "gif": (0, b"GIF8")}


def is_pdf(data: bytes) -> bool:
    return data.startswith(PDF)


def container_of(data: bytes) -> str | None:
    """FFmpeg's name of a video's container; None for one that is not taken."""
    return next((name for name, (at, magic) in CONTAINERS.items() if data.startswith(magic, at)), None)
