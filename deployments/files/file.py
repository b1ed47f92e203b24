"""What a file is: its owner, its metadata, its id. Pure."""

import re
import secrets
from dataclasses import asdict, dataclass
from enum import StrEnum

import orjson

FILE = "file-"
# Milliseconds since 1970, then what cannot be guessed: ids sort by the time that they were made.
TIME_DIGITS, RANDOM_DIGITS = 11, 24
_NUMBER = re.compile(rf"[0-9a-f]{{{TIME_DIGITS + RANDOM_DIGITS}}}")

MIB = 2**20


class Purpose(StrEnum):
    """What a file is for, in OpenAI's words."""

    BATCH = "batch"
    VISION = "vision"
    USER_DATA = "user_data"
    BATCH_OUTPUT = "batch_output"  # ours alone


BYTES_MAX = {Purpose.BATCH: 200 * MIB, Purpose.VISION: 512 * MIB, Purpose.USER_DATA: 512 * MIB}
# What a model may be shown.
VISIBLE = frozenset({Purpose.VISION, Purpose.USER_DATA})


class FileMissing(LookupError):
    """Unknown, deleted, another project's, or of a purpose that is not for this."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a file or batch is. What belongs to another project does not exist."""

    org_id: str
    project_id: str

    @property
    def path(self) -> str:
        """A part of keys: the parts of an owner are names without slashes."""
        return f"{self.org_id}/{self.project_id}"


@dataclass(frozen=True, slots=True)
class File:
    """A file's metadata, which lies beside its content. `created_at_ms`: UTC."""

    id: str
    filename: str
    purpose: Purpose
    size_bytes: int
    created_at_ms: int

    def encoded(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def decoded(cls, data: bytes) -> "File":
        fields = orjson.loads(data)
        return cls(**fields | {"purpose": Purpose(fields["purpose"])})


def new_id(kind: str, at_ms: int, random: str = "") -> str:
    """An id such as "file-...". `random`: hexadecimal digits, where the same id has to come out again."""
    digits = (random or secrets.token_hex(RANDOM_DIGITS))[:RANDOM_DIGITS]
    return f"{kind}{at_ms:0{TIME_DIGITS}x}{digits}"


def is_id(kind: str, text: str) -> bool:
    """Whether this can be an id of that kind: only then it is made a part of a key."""
    return text.startswith(kind) and _NUMBER.fullmatch(text, len(kind)) is not None
