"""API keys: `sk-vlm-<12 public>-<48 secret>`. The public part names the key; only a hash of the whole is stored."""

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from accounting.limits import NO_LIMITS, RateLimits

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "sk-vlm-"
PUBLIC_CHARACTERS = 12
SECRET_CHARACTERS = 48


class Scope(StrEnum):
    """What a key may do. A `manage` key cannot infer."""

    INFERENCE = "inference"
    USAGE = "usage:read"
    MANAGE = "manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What is stored of a key. `models` empty: all of them. `root_id` is the first key of a line of rotations."""

    id: str
    sha256: str
    org_id: str
    project_id: str
    name: str
    scopes: tuple[str, ...]
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    models: tuple[str, ...] = ()
    limits: RateLimits = NO_LIMITS
    root_id: str = ""
    rotated_to: str | None = None
    created_at_ms: int = 0

    @property
    def credit_account(self) -> str:
        return f"credit:{self.org_id}"

    @property
    def root(self) -> str:
        """The id under which budgets and rate limits know this key."""
        return self.root_id or self.id

    def works_at(self, now_ms: int) -> bool:
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)

    def may_use(self, model: str) -> bool:
        return not self.models or model in self.models


def mint(
    org_id: str, project_id: str, name: str, scopes: tuple[Scope, ...], ref: str | None = None
) -> tuple[str, KeyRecord]:
    """Make a key. Returns the key itself, to be shown once, and the record to store. One `ref`, one id."""
    public, secret = _random(PUBLIC_CHARACTERS) if ref is None else _derived(ref), _random(SECRET_CHARACTERS)
    key = f"{PREFIX}{public}-{secret}"
    return key, KeyRecord(
        id=f"key_{public}", sha256=sha256(key), org_id=org_id, project_id=project_id, name=name, scopes=tuple(scopes)
    )


def sha256(key: str) -> str:
    """The stored form. 48 random characters need no slow hash."""
    return hashlib.sha256(key.encode()).hexdigest()


def _random(characters: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(characters))


def _derived(ref: str) -> str:
    number = int.from_bytes(hashlib.sha256(ref.encode()).digest())
    return "".join(ALPHABET[number // len(ALPHABET) ** place % len(ALPHABET)] for place in range(PUBLIC_CHARACTERS))
