"""A batch's file, checked line by line before anything runs. Faults are named by line and never repeat what is in it."""

import asyncio
import codecs
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import orjson

from deployments.batches.batch import ENDPOINT, Fault
from deployments.batches.line import Line
from deployments.json_values import JSON_VALUES_MAX, has_too_many_values

LINES_MAX = 50_000
LINE_BYTES_MAX = 32 * 2**20
CUSTOM_ID_CHARACTERS_MAX = 512
FAULTS_MAX = 100
# Lines that are looked at before others have a turn: a file may be newlines alone.
LINES_AT_ONCE = 1_000
FIELDS = frozenset({"custom_id", "method", "url", "body"})

# The served name of a model, by any of its names; None if there is no such model.
ServedName = Callable[[str], str | None]


class _Wrong(Exception):
    """A line that is not right."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        self.code = code
        self.message = message
        self.param = param


class Validation:
    """Collects the lines of a file, and what is wrong with them."""

    def __init__(self, served_name: ServedName) -> None:
        self.lines: list[Line] = []
        self.faults: list[Fault] = []
        self._served_name = served_name
        self._ids: set[str] = set()

    @property
    def full(self) -> bool:
        """Whether there is no point in going on."""
        return len(self.faults) >= FAULTS_MAX or len(self.lines) > LINES_MAX

    @property
    def only_model(self) -> str | None:
        """The model of all lines, if it is one."""
        models = {line.model for line in self.lines}
        return models.pop() if len(models) == 1 else None

    def add(self, number: int, start: int, data: bytes | None) -> None:
        """Check a line; `data` is None for one that is too long to be read."""
        try:
            self.lines.append(self._line(number, start, data))
        except _Wrong as wrong:
            self.faults.append(Fault(wrong.code, wrong.message, number, wrong.param))

    def end(self) -> None:
        """What is wrong with the file as a whole."""
        if not self.lines and not self.faults:
            self.faults.append(
                Fault("empty_file", "The file has no lines, or is gone. Upload one with a request a line.")
            )
        if len(self.lines) > LINES_MAX:
            self.faults.append(
                Fault("too_many_lines", f"The file has more than {LINES_MAX} lines. Make several of it.")
            )

    def _line(self, number: int, start: int, data: bytes | None) -> Line:
        if data is None:
            raise _Wrong("line_too_large", f"The line is above {LINE_BYTES_MAX} bytes. Send smaller or fewer images.")
        if start == 0 and data.startswith(codecs.BOM_UTF8):  # editors on Windows put it before a text
            start, data = len(codecs.BOM_UTF8), data.removeprefix(codecs.BOM_UTF8)
        asked = _read(data)
        _check_route(asked)
        custom_id, model = self._custom_id(asked), self._model(asked)
        self._ids.add(custom_id)
        return Line(number, start, len(data), custom_id, model)

    def _custom_id(self, asked: dict[str, Any]) -> str:
        custom_id = asked.get("custom_id")
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= CUSTOM_ID_CHARACTERS_MAX:
            wanted = f"'custom_id' is a text of 1 to {CUSTOM_ID_CHARACTERS_MAX} characters."
            raise _Wrong("invalid_custom_id", wanted, "custom_id")
        if custom_id in self._ids:
            raise _Wrong("duplicate_custom_id", "An earlier line has the same 'custom_id'.", "custom_id")
        return custom_id

    def _model(self, asked: dict[str, Any]) -> str:
        body = asked.get("body")
        if not isinstance(body, dict):
            raise _Wrong("invalid_body", "'body' is the JSON object of a chat completion.", "body")
        if body.get("stream"):
            raise _Wrong(
                "stream_not_supported", "An answer in a file cannot be streamed. Remove 'stream'.", "body.stream"
            )
        model = body.get("model")
        served_name = self._served_name(model) if isinstance(model, str) else None
        if served_name is None:
            message = "No model of that name is served here. GET /v1/models lists them."
            raise _Wrong("model_not_found", message, "body.model")
        return served_name


def _read(data: bytes) -> dict[str, Any]:
    if has_too_many_values(data):
        raise _Wrong("too_many_values", f"The line has more than {JSON_VALUES_MAX} values. Send less at once.")
    try:
        asked = orjson.loads(data)
        orjson.dumps(asked)  # it reads deeper nesting than it writes
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        asked = None
    if not isinstance(asked, dict):
        raise _Wrong("invalid_json_line", "The line is not one JSON object, encoded as UTF-8.")
    return asked


def _check_route(asked: dict[str, Any]) -> None:
    if asked.keys() - FIELDS:
        raise _Wrong("unknown_field", "A line has 'custom_id', 'method', 'url' and 'body', and nothing else.")
    if asked.get("method") != "POST":
        raise _Wrong("invalid_method", "'method' is \"POST\".", "method")
    if asked.get("url") != ENDPOINT:
        raise _Wrong("invalid_url", f"'url' is \"{ENDPOINT}\", as the batch's 'endpoint'.", "url")


async def lines_of(
    chunks: AsyncIterable[bytes], bytes_max: int = LINE_BYTES_MAX
) -> AsyncIterator[tuple[int, int, bytes | None]]:
    """Number (from 1), offset and bytes of every line that is not blank; None for the bytes of one that is too long."""
    number, start, rest, skipped = 1, 0, bytearray(), 0
    async for chunk in chunks:
        *ended, last = chunk.split(b"\n")
        for part in ended:
            size = skipped + len(rest) + len(part)
            line = None if skipped or size > bytes_max else bytes(rest + part)
            if line is None or line.strip():
                yield number, start, line
            number, start, rest, skipped = number + 1, start + size + 1, bytearray(), 0
            if number % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
        rest += last
        if len(rest) > bytes_max:
            skipped, rest = skipped + len(rest), bytearray()
    if skipped or rest.strip():
        yield number, start, None if skipped else bytes(rest)
