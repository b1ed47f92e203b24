"""What an exported day consists of, and the day it follows."""

from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Annotated, Literal

import orjson
from pydantic import StringConstraints, TypeAdapter, ValidationError

from accounting.price import Price
from accounting.store import Account

FOLDER = "manifests/"
# No dots but the last: a key cannot lead out of the target.
Key = Annotated[str, StringConstraints(pattern=r"^[a-z]+(/[a-z0-9=-]+)+\.(csv|parquet)$")]


class NotAManifest(ValueError):
    """Bytes that no export wrote."""


@dataclass(frozen=True, slots=True)
class Item:
    """An object. `amount_nano` is the sum of its amounts: of ledger lines 0, but where a part ends within a transaction; of
    usage what was charged, less what was given back.
    """

    key: Key
    rows: int
    amount_nano: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """The lines from one `seq` to another, both included, and the charges among them."""

    first_seq: int
    last_seq: int
    entries: Item
    usage_csv: Item
    usage_parquet: Item

    @property
    def items(self) -> tuple[Item, ...]:
        return self.entries, self.usage_csv, self.usage_parquet


@dataclass(frozen=True, slots=True)
class Manifest:
    """One closed day, UTC. Its lines are those after `after_seq`, the `last_seq` of the day before; a day without any has no
    parts. `accounts` are those that the day's lines touch, with their limits when this was written; `prices` all versions
    that the ledger had then.
    """

    day: date
    previous_sha256: str | None
    after_seq: int
    last_seq: int
    rows: int
    charged_nano: int
    parts: tuple[Part, ...]
    accounts: tuple[Account, ...]
    prices: tuple[Price, ...]
    format: Literal[1] = 1
    focus: str = "1.3"


MANIFEST = TypeAdapter(Manifest)


def key_of(day: date) -> str:
    return f"{FOLDER}{day}.json"


def day_of(key: str) -> date:
    """The inverse of `key_of`. Raises `NotAManifest`."""
    try:
        return date.fromisoformat(key.removeprefix(FOLDER).removesuffix(".json"))
    except ValueError as error:
        raise NotAManifest from error


def checksum(data: bytes) -> str:
    return sha256(data).hexdigest()


def encode(manifest: Manifest) -> bytes:
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2)


def decode(data: bytes) -> Manifest:
    """The inverse of `encode`. Raises `NotAManifest`."""
    try:
        return MANIFEST.validate_json(data)
    except ValidationError as error:
        raise NotAManifest from error
