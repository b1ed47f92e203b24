"""What is wrong with a medium. Raised wherever it is found; `media.py` adds which part of the request it was."""


class Fault(Exception):
    """`code` is one of OpenAI's image codes, see `docs/errors.md`; `message` says what the caller can do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class TooManyBytes(Fault):
    def __init__(self, bytes_max: int) -> None:
        super().__init__("image_file_too_large", f"it is above {bytes_max} bytes. Send a smaller one")


class NotDownloaded(Fault):
    """One answer for every failure, so that nobody can map our network from the errors."""

    def __init__(self) -> None:
        super().__init__(
            "failed_to_download_image",
            "it could not be downloaded. Check that the URL is public and answers, or send a data URL",
        )


class NotTaken(Fault):
    """`taken`: what the part is for, such as "PNG, JPEG, WebP or GIF, as image/..."."""

    def __init__(self, taken: str) -> None:
        super().__init__("unsupported_image_media_type", f"this is not taken here. Send {taken}")
