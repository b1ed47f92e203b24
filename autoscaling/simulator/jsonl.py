"""A user's own trace: JSON lines (gzip allowed), a request a line, in any order of time."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autoscaling.simulator.trace import Trace


class BadTrace(ValueError):
    """What is wrong with a trace, with the line and the field."""


class Line(BaseModel):
    """One request. Times are seconds from any moment; the first request is at 0."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    t_s: float
    vision_tokens: int = Field(ge=0, lt=2**31)
    text_tokens: int = Field(ge=0, lt=2**31)
    output_tokens: int = Field(ge=0, lt=2**31)
    model: str | None = None
    tenant: str | None = None


def read_jsonl(path: Path) -> dict[str, Trace]:
    """A trace for each model that is named; requests that name none are of the model ''.

    Raises BadTrace, with the line and the field, for a line that is no request.
    """
    rows: dict[str, list[tuple[float, int, int, int]]] = {}
    for line in _lines(path):
        row = (line.t_s, line.vision_tokens, line.text_tokens, line.output_tokens)
        rows.setdefault(line.model or "", []).append(row)
    if not rows:
        raise BadTrace(f"{path.name}: no requests in it")
    first_s = min(row[0] for of_model in rows.values() for row in of_model)
    return {model: _trace(model or path.name, of_model, first_s) for model, of_model in sorted(rows.items())}


def _trace(name: str, rows: list[tuple[float, int, int, int]], first_s: float) -> Trace:
    t_s, vision, text, output = (np.array(column) for column in zip(*rows, strict=True))
    return Trace.of(name, t_s - first_s, vision, text, output)


def _lines(path: Path) -> Iterator[Line]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield Line.model_validate_json(line)
            except ValidationError as error:
                raise BadTrace(f"{path.name}, line {number}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    """By name, never with what was in it."""
    detail = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(map(str, detail["loc"]))
    return f"{field}: {detail['msg']}" if field else detail["msg"]


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # it reads bytes
