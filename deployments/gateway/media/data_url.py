"""Data URLs: read as browsers read them, and written in one form, which is all that an engine ever gets.

A data URL is `data:<media type>;<parameters>;base64,<base64>` (RFC 2397). Clients write it in many ways; what each of them
means is decided here, once, because engines do not agree about it.
"""

import binascii

import pybase64

from deployments.gateway.media.fault import Fault

SCHEME = "data:"
BASE64 = "base64"
# Types that browsers and programs give to a file whose type they do not know.
GENERIC_TYPES = frozenset({"application/octet-stream", "binary/octet-stream", "application/x-binary", "*/*"})
WHITE_SPACE = b" \t\r\n\f"
# RFC 4648 has a second alphabet, which may stand in a URL: some programs write it into data URLs, too.
URL_SAFE_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# What of base64 and its white space means something else in a URL, so that programs escape it there.
ESCAPED = {b"%2B": b"+", b"%2F": b"/", b"%3D": b"=", b"%0D": b"", b"%0A": b"", b"%20": b""}
# Names of files are among the parameters.
HEAD_CHARACTERS_MAX = 1000
# Python runs other threads between slices, not within one.
SLICE_CHARACTERS = 2**20


def is_data_url(url: str) -> bool:
    return url[: len(SCHEME)].lower() == SCHEME


def read_data_url(url: str) -> tuple[str, bytes]:
    """Its media type, in lower case, and its bytes. The type is "" where it says nothing: none, a generic one, or no
    type at all (`data:None;base64,`). Raises `Fault`.
    """
    comma = url.find(",", 0, HEAD_CHARACTERS_MAX)
    media_type, *parameters = (word.strip().lower() for word in url[len(SCHEME) : max(0, comma)].split(";"))
    if BASE64 not in parameters:
        raise Fault("invalid_image_url", "it is not a data URL with base64")
    if "/" not in media_type or media_type in GENERIC_TYPES:
        media_type = ""
    return media_type, read_base64(url[comma + 1 :])


def read_base64(text: str) -> bytes:
    """Bytes of base64 in either alphabet. White space between, escapes as in URLs (`%2B`) and missing padding are taken,
    as browsers do. Raises `Fault`.
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass  # not as a program of base64 writes it
    try:
        packed = b"".join(_standard(text[at : at + SLICE_CHARACTERS]) for at in range(0, len(text), SLICE_CHARACTERS))
        packed = _without_escapes(packed).rstrip(b"=")
        return pybase64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Fault("invalid_base64_image", "the base64 does not decode") from error


def write_data_url(media_type: str, data: bytes) -> str:
    """The form that engines get."""
    return f"{SCHEME}{media_type};{BASE64},{pybase64.b64encode_as_string(data)}"


def _standard(text: str) -> bytes:
    """In the standard alphabet, without white space."""
    return text.encode("ascii").translate(URL_SAFE_TO_STANDARD, WHITE_SPACE)


def _without_escapes(packed: bytes) -> bytes:
    if b"%" in packed:
        for escaped, plain in ESCAPED.items():
            packed = packed.replace(escaped, plain).replace(escaped.lower(), plain)
    return packed
