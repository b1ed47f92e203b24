import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from accounting import wire
from accounting.command import AddKey, AddPrice, Attempt, Grant, Hold, Outcome, Post
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.sqlite import SqliteStore
from deployments.ledger.client import Address
from deployments.ledger.server import LedgerServer

Rows = Callable[[str], list[tuple[Any, ...]]]

PRICE = Price("m", 1, unit_nano=1_000, batch_unit_nano=500)
GIFT = Grant("gift", "credit:org", 10_000)
TRIED = Attempt("replica_1", "stop", 1, 64, 1_196, 0, 150, ttft_ms=80, latency_ms=900)
HOLD = Hold("r1", "gw_1", "key_1", "m", 1, "default", (1,), 0, ("credit:org",), 1_000, "sha", expires_in_ms=60_000)
POST = Post("r1", 1, charged_nano=1_000, outcome=Outcome.COMPLETE, record=TRIED)
KEY = KeyRecord("key_1", "0" * 64, "org", "project", "laptop", ("inference",))
# No command means to take credit away, so nothing names this refusal: the schema's CHECK makes it a failure.
BAD = Grant("theft", "credit:poor", -1)


@dataclass
class Connection:
    """The bytes of a gateway's connection, without a gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *lines: bytes) -> list[dict[str, Any]]:
        self.writer.writelines(lines)
        return [orjson.loads(await self.reader.readline()) for _ in lines]


@asynccontextmanager
async def connect(address: Address, hello: bytes | None = None) -> AsyncIterator[Connection]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(wire.encode_hello(address.token) if hello is None else hello)
        yield Connection(reader, writer)
        writer.close()
        await writer.wait_closed()


async def test_commands_are_answered_under_their_numbers(address: Address, rows: Rows):
    """In their order, once they are durable."""
    async with connect(address) as connection:
        commands = (AddPrice(PRICE), GIFT, HOLD, POST, POST)
        answers = await connection.ask(*(wire.encode_command(i, command) for i, command in enumerate(commands)))
        assert rows("SELECT state, charged_nano FROM hold") == [("posted", 1_000)]
    assert answers == [
        {"id": 0, "answer": "created"},
        {"id": 1, "answer": "created"},
        {"id": 2, "answer": "created"},
        {"id": 3, "answer": "posted"},
        {"id": 4, "answer": "already_posted"},
    ]


async def test_questions_are_answered_too(address: Address):
    """Keys and totals are asked for over the same connection."""
    async with connect(address) as connection:
        await connection.ask(wire.encode_command(1, AddKey(KEY)))
        keys, snapshot = await connection.ask(wire.encode_question(2, "keys"), wire.encode_question(3, "snapshot"))
    assert wire.decode_keys(keys["answer"]) == [KEY]
    assert wire.decode_snapshot(snapshot["answer"]).holds_open == 0


@pytest.mark.parametrize("hello", [b'{"token":"wrong"}\n', b"{}\n", b"GET / HTTP/1.1\r\n", b"\n"])
async def test_nobody_gets_in_without_the_token(address: Address, rows: Rows, hello: bytes):
    """The connection ends without an answer, and what was sent has no effect."""
    async with connect(address, hello + wire.encode_command(1, GIFT)) as connection:
        assert await connection.reader.read() == b""
    assert rows("SELECT count(*) FROM entry") == [(0,)]


async def test_a_failure_is_told_and_harms_no_other_command(address: Address):
    """What no store can hold is refused for good; the connection goes on."""
    async with connect(address) as connection:
        bad, good = await connection.ask(wire.encode_command(1, BAD), wire.encode_command(2, GIFT))
    assert bad == {"id": 1, "answer": "invalid"}
    assert good == {"id": 2, "answer": "created"}


async def test_what_is_no_command_is_refused_for_good(address: Address):
    """Else its sender would repeat it for ever, and nothing behind it would be answered."""
    async with connect(address) as connection:
        answers = await connection.ask(b'{"id":1,"do":"Refund","with":{}}\n', wire.encode_command(2, GIFT))
    assert [answer["answer"] for answer in answers] == ["invalid", "created"]


async def test_stopping_hangs_up(store: SqliteStore):
    """Gateways notice at once that they must look for another writer."""
    server = LedgerServer(store, "a token")
    port = await server.start("127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(wire.encode_hello("a token") + wire.encode_command(1, GIFT))
    await reader.readline()
    await server.stop()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_a_line_that_is_not_json_ends_its_connection_only(address: Address):
    """Other gateways notice nothing."""
    async with connect(address) as connection, connect(address) as broken:
        broken.writer.write(b"no JSON\n")
        assert await broken.reader.read() == b""
        assert await connection.ask(wire.encode_command(1, GIFT)) == [{"id": 1, "answer": "created"}]


async def test_a_command_takes_effect_although_its_sender_has_left(address: Address):
    """Whoever asks again finds it done."""
    async with connect(address) as leaving:
        leaving.writer.write(wire.encode_command(1, GIFT))
        leaving.writer.write_eof()
        await leaving.reader.read()
    async with connect(address) as connection:
        assert await connection.ask(wire.encode_command(1, GIFT)) == [{"id": 1, "answer": "exists"}]


async def test_gateways_share_one_ledger(address: Address):
    """What one has done the other is told."""
    async with connect(address) as first, connect(address) as second:
        assert await first.ask(wire.encode_command(1, GIFT)) == [{"id": 1, "answer": "created"}]
        assert await second.ask(wire.encode_command(1, GIFT)) == [{"id": 1, "answer": "exists"}]
