"""The line in the log that each request leaves: what is in it, and what never is."""

import logging
from collections.abc import Iterator

import pytest

from deployments.gateway.request_log import logger
from tests.gateway.client import Client
from tests.gateway.house import CARD, House, question


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What is logged meanwhile; Ray's loggers hand nothing on, so it is read at its source."""
    records: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler, level = Kept(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_an_answer_leaves_one_line(house: House, lines: list[logging.LogRecord]):
    """Each fact is a field, for a log that is JSON."""
    client = await house.ask(question())
    (line,) = lines
    fields = line.__dict__
    assert fields["vlm_request_id"] == client.headers["x-vlm-request-id"]
    assert fields["key_id"] == house.record.id
    assert (fields["model"], fields["outcome"], fields["status"]) == (CARD.served_name, "complete", 200)
    assert fields["latency_ms"] >= 0
    assert "error" not in fields


async def test_an_error_is_named(house: House, lines: list[logging.LogRecord]):
    """By its code, or its type where it has none; the key is known, a model is not."""
    await house.ask(question(model="no-such-model"))
    (line,) = lines
    assert (line.__dict__["error"], line.__dict__["status"]) == ("model_not_found", 404)
    assert line.__dict__["key_id"] == house.record.id
    assert "no-such-model" not in line.getMessage()


async def test_nothing_secret_is_logged(house: House, lines: list[logging.LogRecord]):
    """Neither the key nor a word of the request or the answer."""
    client = await house.ask(question())
    told = str([line.__dict__ for line in lines])
    assert house.key not in told
    assert "What is in the image?" not in told
    assert client.json["choices"][0]["message"]["content"] not in told


async def test_a_path_cannot_forge_a_line(house: House, lines: list[logging.LogRecord]):
    """The server has decoded it: it may hold a line's end."""
    await Client(key=house.key, path="/v1/models/x\nstatus=200", method="GET").ask(house.app)
    (line,) = lines
    assert "\n" not in line.getMessage()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_machines_that_ask_often_are_not_logged(house: House, lines: list[logging.LogRecord], path: str):
    await Client(path=path, method="GET").ask(house.app)
    assert lines == []


async def test_the_line_can_be_turned_off(house: House, lines: list[logging.LogRecord]):
    house.app._logs_requests = False
    await house.ask(question())
    assert lines == []
