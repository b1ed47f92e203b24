"""What became of each request, as it is kept in `requests.jsonl`."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from loadtests.stream import Measured


@dataclass(frozen=True, slots=True)
class Record:
    """A request that was due `at_s` after the start and sent `lag_ms` later. `failure` says why it has no `answer`."""

    at_s: float
    lag_ms: float
    key: int
    answer: Measured | None = None
    failure: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Self:
        """The inverse of `as_json`."""
        answer = data.pop("answer")
        return cls(**data, answer=answer and Measured(**answer))
