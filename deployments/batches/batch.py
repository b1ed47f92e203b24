"""What a batch is: what was asked, how far it is, and how both look to its owner. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from accounting.money import usd
from deployments.batches.tally import NOTHING, Tally
from deployments.files.file import Owner

BATCH = "batch_"
ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"
WINDOW_MS = 24 * 3_600_000


class Status(StrEnum):
    """In OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, by which key. It never changes."""

    id: str
    owner: Owner
    key_id: str
    input_file_id: str
    created_at_ms: int
    metadata: dict[str, str] | None = None

    @property
    def expires_at_ms(self) -> int:
        return self.created_at_ms + WINDOW_MS


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a batch was not begun. `line` counts from 1; the message never repeats what the line says."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is. Only the worker writes it. Times are milliseconds UTC.

    `ending` is how the batch ends, once that is decided: then its files are made, under names that follow from
    `finalizing_at_ms`, so that making them again makes the same.
    """

    status: Status = Status.VALIDATING
    total: int = 0
    tally: Tally = NOTHING
    model: str | None = None
    faults: tuple[Fault, ...] = ()
    in_progress_at_ms: int | None = None
    finalizing_at_ms: int | None = None
    cancelling_at_ms: int | None = None
    ending: Status | None = None
    ended_at_ms: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    def decided_ending(self, cancelled: bool) -> Status:
        """How a batch ends whose lines are not asked for any more."""
        if cancelled:
            return Status.CANCELLED
        return Status.COMPLETED if self.tally.completed + self.tally.failed == self.total else Status.EXPIRED


def batch_object(asked: Asked, progress: Progress, cancelling_at_ms: int | None) -> dict[str, Any]:
    """A batch in OpenAI's shape; what cost concerns is ours. `cancelling_at_ms`: a wish the worker may not know yet."""
    status = shown_status(progress, cancelling_at_ms)
    ended = {f"{end}_at": _seconds(progress.ended_at_ms if status is end else None) for end in sorted(ENDED)}
    return {
        "id": asked.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": progress.model,
        "errors": _errors(progress.faults),
        "input_file_id": asked.input_file_id,
        "completion_window": WINDOW,
        "status": status,
        "output_file_id": progress.output_file_id,
        "error_file_id": progress.error_file_id,
        "created_at": _seconds(asked.created_at_ms),
        "in_progress_at": _seconds(progress.in_progress_at_ms),
        "expires_at": _seconds(asked.expires_at_ms),
        "finalizing_at": _seconds(progress.finalizing_at_ms),
        "cancelling_at": _seconds(progress.cancelling_at_ms or cancelling_at_ms),
        **ended,
        "request_counts": {
            "total": progress.total,
            "completed": progress.tally.completed,
            "failed": progress.tally.failed,
        },
        "usage": _usage(progress.tally),
        "metadata": asked.metadata,
    }


def shown_status(progress: Progress, cancelling_at_ms: int | None) -> Status:
    """A batch that was told to end says so at once, until it has ended."""
    stopping = cancelling_at_ms is not None and progress.status in (Status.VALIDATING, Status.IN_PROGRESS)
    if stopping or (progress.status is Status.FINALIZING and progress.ending is Status.CANCELLED):
        return Status.CANCELLING
    return progress.status


def _usage(tally: Tally) -> dict[str, Any]:
    return {
        "input_tokens": tally.input_tokens,
        "input_tokens_details": {"cached_tokens": tally.cached_tokens},
        "output_tokens": tally.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tally.input_tokens + tally.output_tokens,
        "cost": float(usd(tally.charged_nano)),
        "cost_details": {"charged_nano": tally.charged_nano},
    }


def _errors(faults: tuple[Fault, ...]) -> dict[str, Any] | None:
    if not faults:
        return None
    data = [{"code": one.code, "message": one.message, "line": one.line, "param": one.param} for one in faults]
    return {"object": "list", "data": data}


def _seconds(at_ms: int | None) -> int | None:
    return None if at_ms is None else at_ms // 1000
