"""One line of a batch: what it asks, what it was answered, and what is written down of that. Pure but for the port."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from deployments.batches.tally import FAILED, Tally

# What is worth waiting for, as long as the answer says when to come back: the line runs already, somewhere (409), a rate
# limit or a full queue (429), a model that starts, or no ledger (503).
WAITED_FOR = frozenset({409, 429, 503})
WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line lies in its file, and what has to be known of it before it is read. `number` counts from 1."""

    number: int
    start: int
    size: int
    custom_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What the gateway answered, as over HTTP. Names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line, for good. `record` is its line in the output or error file."""

    number: int
    tally: Tally
    record: bytes

    @property
    def ok(self) -> bool:
        return self.tally.completed > 0


class Unreachable(Exception):
    """No gateway answered. The line may run all the same."""


class Lines(Protocol):
    """The way to the gateway."""

    async def run(self, key_id: str, name: str, body: bytes) -> Answered:
        """Answer a chat completion for this key, in the `batch` tier. Raises `Unreachable`.

        `name` names the line for ever: asked again under it, a line that was charged is answered from what is stored,
        and one that still runs with a 409.
        """
        ...


def line_name(batch_id: str, custom_id: str) -> str:
    """What the ledger knows a line by."""
    return hashlib.sha256(f"{batch_id}\n{custom_id}".encode()).hexdigest()


def wait_s(answered: Answered) -> float | None:
    """After how long to ask again; None if this is the line's answer."""
    if answered.status not in WAITED_FOR or answered.headers.get("x-should-retry") == "false":
        return None
    try:
        return max(0.0, float(answered.headers["retry-after"]))
    except (LookupError, ValueError):
        return WAIT_S


def is_of_the_ledger(answered: Answered) -> bool:
    """Whether the ledger did not take this line's hold: one line alone may be what it cannot take."""
    return answered.status == 503 and orjson.loads(answered.body)["error"]["code"] == "ledger_unavailable"


def result_of(name: str, line: Line, answered: Answered) -> Result:
    """The result of a line that was answered."""
    body = orjson.loads(answered.body)
    response = {
        "status_code": answered.status,
        "request_id": answered.headers.get("x-vlm-request-id"),
        "body": body,
    }
    tally = _tally(body["usage"]) if answered.status == 200 else FAILED
    return Result(line.number, tally, _record(name, line, response=response))


def not_run(name: str, line: Line, code: str, message: str) -> Result:
    """The result of a line that nobody was asked for, and nobody charged."""
    return Result(line.number, FAILED, _record(name, line, error={"code": code, "message": message}))


def _record(
    name: str, line: Line, response: dict[str, Any] | None = None, error: dict[str, Any] | None = None
) -> bytes:
    record = {"id": f"batch_req_{name[:32]}", "custom_id": line.custom_id, "response": response, "error": error}
    return orjson.dumps(record)


def _tally(usage: dict[str, Any]) -> Tally:
    return Tally(
        completed=1,
        input_tokens=usage["prompt_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        output_tokens=usage["completion_tokens"],
        charged_nano=usage["cost_details"]["charged_nano"],
    )
