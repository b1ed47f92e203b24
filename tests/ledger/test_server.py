import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import orjson
import pytest

from accounting import wire
from accounting.command import AddKey, Grant
from accounting.questions import Balances, FleetTotals, KeyChanges, Listing, OneRequest
from accounting.sqlite import SqliteStore
from accounting.store import KeyChange
from deployments.ledger.client import Address
from deployments.ledger.server import LedgerServer
from tests.ledger.commands import GIFT, HOLD, KEY, POST, PRICED

R = TypeVar("R")
Rows = Callable[[str], list[tuple[Any, ...]]]

# No command means to take credit away, so nothing names this refusal: the schema's CHECK makes it a failure.
BAD = Grant(ref="theft", account="credit:poor", amount_nano=-1)


@dataclass
class Connection:
    """The bytes of a gateway's connection, without a gateway."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, *lines: bytes) -> list[dict[str, Any]]:
        self.writer.writelines(lines)
        return [orjson.loads(await self.reader.readline()) for _ in lines]

    async def results(self, *lines: bytes) -> list[tuple[int, str]]:
        """The numbers and results that commands are answered with."""
        return [(answer["id"], answer["answer"]["result"]) for answer in await self.ask(*lines)]


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
        commands = (PRICED, GIFT, HOLD, POST, POST)
        results = await connection.results(*(wire.encode_command(i, command) for i, command in enumerate(commands)))
        assert rows("SELECT state, charged_nano FROM hold") == [("posted", 1_000)]
    assert results == [(0, "created"), (1, "created"), (2, "created"), (3, "posted"), (4, "already_posted")]


async def test_questions_are_answered_too(address: Address):
    """Keys and totals are asked for over the same connection."""
    async with connect(address) as connection:
        await connection.ask(wire.encode_command(1, AddKey(KEY)))
        (keys,) = await connection.ask(wire.encode_question(2, wire.Page(KeyChanges(), (), 10)))
        (snapshot,) = await connection.ask(wire.encode_question(3, FleetTotals()))
    assert wire.decode_page(KeyChanges(), keys) == ([KeyChange(1, KEY)], False)
    assert wire.decode_answer(FleetTotals(), snapshot).holds_open == 0


@pytest.mark.parametrize("hello", [b'{"token":"wrong"}\n', b"{}\n", b"GET / HTTP/1.1\r\n", b"\n"])
async def test_nobody_gets_in_without_the_token(address: Address, rows: Rows, hello: bytes):
    """The connection ends without an answer, and what was sent has no effect."""
    async with connect(address, hello + wire.encode_command(1, GIFT)) as connection:
        assert await connection.reader.read() == b""
    assert rows("SELECT count(*) FROM entry") == [(0,)]


async def test_a_failure_is_told_and_harms_no_other_command(address: Address):
    """What no store can hold is refused for good; the connection goes on."""
    async with connect(address) as connection:
        results = await connection.results(wire.encode_command(1, BAD), wire.encode_command(2, GIFT))
    assert results == [(1, "invalid"), (2, "created")]


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1,"do":"Steal","with":{}}\n',
        b'{"id":1,"do":"Grant","with":{}}\n',
        wire.encode_command(1, GIFT).replace(b'"ref"', b'"of_a_newer_gateway":1,"ref"'),
        b'{"id":1,"do":"Grant","wi\n',
        b'{"id":1,"do":"Grant","with":{"ref":"\xff"}}\n',
        b'{"id":1,"do":"Grant","with":' + b"[" * 2_000 + b"\n",
        wire.encode_command(1, replace(HOLD, user_id="u" * 2_000)),
        b'{"id":1,"do":"Grant","with":"' + b"x" * wire.COMMAND_BYTES_MAX + b'"}\n',
    ],
    ids=["no name", "gaps", "more than is known", "half", "no text", "too deep", "a long text", "too long"],
)
async def test_what_is_no_command_is_refused_for_good(address: Address, line: bytes):
    """Else its sender would repeat it for ever, and nothing behind it would be answered."""
    async with connect(address) as connection:
        results = await connection.results(line, wire.encode_command(2, GIFT))
    assert results == [(1, "invalid"), (2, "created")]


async def test_what_is_no_question_fails(address: Address):
    """Only the questions of `Store`: no other method of it can be called from outside."""
    async with connect(address) as connection:
        closing, asking = await connection.ask(
            b'{"id":1,"ask":"close","with":{}}\n', wire.encode_question(2, OneRequest("r9"))
        )
    assert "failure" in closing
    assert asking == {"id": 2, "answer": None}


async def test_a_question_that_is_too_long_fails(address: Address):
    """And what is behind it is answered."""
    async with connect(address) as connection:
        long = wire.encode_question(1, OneRequest("x" * wire.COMMAND_BYTES_MAX))
        failing, asking = await connection.ask(long, wire.encode_question(2, OneRequest("r9")))
    assert "failure" in failing
    assert asking["answer"] is None


async def pages(connection: Connection, listing: Listing[R]) -> list[list[R]]:
    """The rows of every page of an answer."""
    read: list[list[R]] = []
    more, after = True, ()
    while more:
        (page,) = await connection.ask(wire.encode_question(1, wire.Page(listing, after, 4)))
        rows, more = wire.decode_page(listing, page)
        read.append(rows)
        after = listing.place(rows[-1])
    return read


async def test_a_long_answer_comes_in_pages(address: Address):
    """Of as many rows as were asked for; the last one says that there are no more."""
    async with connect(address) as connection:
        await connection.ask(
            *(wire.encode_command(n, replace(GIFT, ref=str(n), account=f"credit:{n}")) for n in range(7))
        )
        read = await pages(connection, Balances())
    assert [len(rows) for rows in read] == [4, 4, 2]
    assert [balance.account for rows in read for balance in rows if balance.kind == "credit"] == [
        f"credit:{number}" for number in range(7)
    ]


async def test_long_rows_make_short_pages(address: Address, monkeypatch: pytest.MonkeyPatch):
    """A page that would be too long has fewer rows, and one row at least."""
    monkeypatch.setattr(wire, "PAGE_BYTES_MAX", 300)
    async with connect(address) as connection:
        names = ("a", "b" * 200, "c")
        await connection.ask(
            *(wire.encode_command(n, replace(GIFT, ref=name, account=name)) for n, name in enumerate(names))
        )
        read = await pages(connection, Balances())
    assert max(map(len, read)) == 2
    assert set(names) < {balance.account for rows in read for balance in rows}


async def test_a_row_that_no_line_can_hold_is_a_failure(address: Address, monkeypatch: pytest.MonkeyPatch):
    """Not the end of the connection."""
    monkeypatch.setattr(wire, "PAGE_BYTES_MAX", 10)
    monkeypatch.setattr(wire, "ANSWER_BYTES_MAX", 200)
    async with connect(address) as connection:
        await connection.ask(wire.encode_command(1, replace(GIFT, account="a" * 250)))
        (page,) = await connection.ask(wire.encode_question(2, wire.Page(Balances(), (), 4)))
        assert page["failure"] == "a row is too long to be sent"
        assert await connection.results(wire.encode_command(3, GIFT)) == [(3, "exists_with_different_content")]


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
        assert await connection.results(wire.encode_command(1, GIFT)) == [(1, "created")]


async def test_a_command_takes_effect_although_its_sender_has_left(address: Address):
    """Whoever asks again finds it done."""
    async with connect(address) as leaving:
        leaving.writer.write(wire.encode_command(1, GIFT))
        leaving.writer.write_eof()
        await leaving.reader.read()
    async with connect(address) as connection:
        assert await connection.results(wire.encode_command(1, GIFT)) == [(1, "exists")]


async def test_gateways_share_one_ledger(address: Address):
    """What one has done the other is told."""
    async with connect(address) as first, connect(address) as second:
        assert await first.results(wire.encode_command(1, GIFT)) == [(1, "created")]
        assert await second.results(wire.encode_command(1, GIFT)) == [(1, "exists")]
