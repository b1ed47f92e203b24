import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accounting.command import AddKey, Command, FirstByte, Grant, Outcome, Reply, Result, Void
from accounting.key import KeyRecord
from accounting.sqlite import SqliteStore
from accounting.store import Snapshot, Total
from deployments.ledger.client import Address, LedgerClient, NoAnswer
from tests.ledger.commands import GIFT, HOLD, KEY, POST, PRICED, TRIED

Rows = Callable[[str], list[tuple[Any, ...]]]

WRITER = """
import asyncio, pathlib, sys
from accounting.sqlite import SqliteStore
from deployments.ledger.server import LedgerServer

async def main():
    server = LedgerServer(SqliteStore(pathlib.Path(sys.argv[1]), lambda: 1_000), "a token")
    print(await server.start("127.0.0.1"), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Writer:
    """A writer in a process of its own, which can be killed and started again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", WRITER, self.file], stdout=subprocess.PIPE)
        self.address = Address("127.0.0.1", int(self.process.stdout.readline()), "a token")

    def kill(self) -> None:
        with self.process:
            self.process.kill()

    async def locate(self) -> Address:
        return self.address


@pytest.fixture
def writer(file: Path) -> Iterator[Writer]:
    writer = Writer(file)
    yield writer
    writer.kill()


@pytest.fixture
async def client(address: Address) -> AsyncIterator[LedgerClient]:
    """A client of a server in this process."""

    async def locate() -> Address:
        return address

    client = LedgerClient(locate)
    client.start()
    async with asyncio.timeout(10):
        yield client
        await client.close(patience_s=0)


async def results(client: LedgerClient, *commands: Command) -> list[Result]:
    return [reply.result for reply in await asyncio.gather(*map(client.submit, commands))]


def gifts(count: int) -> list[Grant]:
    return [Grant(f"gift {number}", "credit:org", 1) for number in range(count)]


async def test_commands_are_answered_by_name(client: LedgerClient):
    """In their order, so a post may follow its hold without waiting for it."""
    told = await results(client, PRICED, GIFT, HOLD, POST, POST)
    assert told == [Result.CREATED] * 3 + [Result.POSTED, Result.ALREADY_POSTED]
    assert client.unacknowledged == 0


async def test_a_reply_says_what_its_asker_needs(client: LedgerClient):
    """Not the result alone: which account has no room, say."""
    await results(client, PRICED, Grant("gift", "credit:org", HOLD.amount_nano - 1))
    assert await client.submit(HOLD) == Reply(Result.NO_ROOM, blocked_by="credit:org")


async def test_questions_are_answered_with_values(client: LedgerClient):
    """Keys and totals are what the store says."""
    await results(client, PRICED, AddKey(KEY), GIFT, HOLD, POST)
    assert await client.ask("keys") == [KEY]
    assert await client.ask("snapshot") == Snapshot((Total("m", "complete", 1, 1, 1_196, 64, 150, 1_000),), 0, 0)


async def test_a_question_has_arguments(client: LedgerClient):
    """They arrive at the store's method of that name."""
    await results(client, PRICED, GIFT, HOLD)
    assert (await client.ask("generation", "r1"))["state"] == "open"
    assert await client.ask("generation", "r2") is None


@pytest.mark.parametrize(
    ("about", "arguments"),
    [("secrets", ()), ("generation", ()), ("entries", ("all", 1))],
    ids=["no question", "no argument", "not a number"],
)
async def test_what_the_writer_does_not_know_has_no_answer(
    client: LedgerClient, about: str, arguments: tuple[object, ...]
):
    """A gateway of a later version is told so, and its connection goes on."""
    with pytest.raises(NoAnswer):
        await client.ask(about, *arguments)
    assert await client.ask("keys") == []


async def test_a_store_that_cannot_read_gives_no_answer(client: LedgerClient, store: SqliteStore, file: Path):
    """A question is not repeated: who asked can ask again."""
    await client.submit(GIFT)
    await asyncio.to_thread(file.rename, file.with_suffix(".away"))
    with pytest.raises(NoAnswer):
        await client.ask("balances")
    assert client.unacknowledged == 0


async def test_a_client_knows_whether_it_is_connected(client: LedgerClient):
    """It is once it was answered, and not after it hung up."""
    await client.submit(GIFT)
    assert client.connected
    await client.close(patience_s=0)
    assert not client.connected


async def test_a_settle_survives_the_death_of_the_writer(writer: Writer, rows: Rows):
    """A post that is made while there is no writer takes effect, once, when there is one again, at a new address."""
    client = LedgerClient(writer.locate)
    client.start()
    async with asyncio.timeout(20):
        await results(client, PRICED, GIFT, HOLD)
        first = writer.address
        writer.kill()
        posted = client.submit(POST)
        writer.start()
        assert writer.address != first
        assert (await posted).result is Result.POSTED
        await client.close(patience_s=0)
    assert rows("SELECT amount_nano FROM entry WHERE account_id = 'revenue'") == [(-1_000,)]


async def test_what_a_kill_interrupts_happens_exactly_once(writer: Writer, rows: Rows):
    """Commands on their way are sent again: those that had taken effect say so, the others are carried out."""
    client = LedgerClient(writer.locate)
    client.start()
    async with asyncio.timeout(20):
        futures = [client.submit(gift) for gift in gifts(500)]
        await futures[0]
        writer.kill()
        writer.start()
        assert {reply.result for reply in await asyncio.gather(*futures)} <= {Result.CREATED, Result.EXISTS}
        await client.close(patience_s=0)
    assert rows("SELECT posted_nano FROM account WHERE id = 'credit:org'") == [(-500,)]


async def test_commands_wait_for_a_writer(address: Address):
    """A gateway may start first: the writer is looked for until it is found."""
    answers = iter([ConnectionError("not yet"), address])

    async def locate() -> Address:
        answer = next(answers)
        if isinstance(answer, ConnectionError):
            raise answer
        return answer

    client = LedgerClient(locate)
    future = client.submit(GIFT)
    client.start()
    async with asyncio.timeout(10):
        assert (await future).result is Result.CREATED
        await client.close(patience_s=0)


async def test_a_command_that_failed_is_sent_again(client: LedgerClient, store: SqliteStore):
    """A full disk delays a settle until there is room; it does not lose it."""
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite's own full disk: the file may not grow
    future = client.submit(AddKey(KeyRecord("key_1", "0" * 64, "org", "project", "x" * 100_000, ())))
    assert await results(client, FirstByte("r1", 1)) == [
        Result.NO_SUCH_HOLD
    ]  # sent after it, so answered after its failure
    assert not future.done()
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert (await future).result is Result.CREATED


async def test_cancelling_a_future_does_not_unsend_its_command(client: LedgerClient):
    """Whoever asked may be gone; the command is carried out."""
    client.submit(GIFT).cancel()
    assert await results(client, GIFT) == [Result.EXISTS]
    assert client.unacknowledged == 0


async def test_closing_waits_for_acknowledgements(client: LedgerClient):
    """What was submitted is durable when the client has closed."""
    futures = [client.submit(gift) for gift in gifts(100)]
    await client.close(patience_s=10)
    assert [future.result().result for future in futures] == [Result.CREATED] * 100


async def test_closing_waits_for_what_an_acknowledgement_leads_to(client: LedgerClient, rows: Rows):
    """A hold that nobody waits for any more is voided when it is there: that is still to be sent then."""
    await results(client, PRICED, GIFT)
    void = Void("r1", 1, Outcome.LEDGER_FAILED, TRIED)
    client.submit(HOLD).add_done_callback(lambda hold: client.submit(void))
    await client.close(patience_s=10)
    assert rows("SELECT state FROM hold") == [("void",)]


async def test_closing_has_an_end():
    """Without a writer it gives up when its patience is over."""

    async def locate() -> Address:
        raise ConnectionError("no writer")

    client = LedgerClient(locate)
    client.start()
    future = client.submit(GIFT)
    async with asyncio.timeout(10):
        await client.close(patience_s=0)
    assert not future.done()
    assert client.unacknowledged == 1


async def scripted(*answers: bytes) -> tuple[asyncio.Server, Address]:
    """A writer that takes a hello and a command, says what it is told to, and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        await reader.readline()
        writer.writelines(answers)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, Address("127.0.0.1", server.sockets[0].getsockname()[1], "a token")


@pytest.mark.parametrize(
    "answers",
    [
        [b'{"id":1,"ans'],
        [b"[]\n"],
        [b'{"id":1,"answer":{"result":"created"}}\n'] * 2,
        [b'{"id":1,"answer":{"result":"of a later version"}}\n'],
    ],
)
async def test_no_answer_ends_the_client(address: Address, answers: list[bytes]):
    """Half a line, nonsense, an answer twice: a new connection settles what is left."""
    server, strange = await scripted(*answers)
    addresses = iter([strange])

    async def locate() -> Address:
        return next(addresses, address)

    client = LedgerClient(locate)
    client.start()
    async with asyncio.timeout(20):
        for told in await results(client, GIFT, GIFT):
            assert told in (Result.CREATED, Result.EXISTS)
    await client.close(5)
    server.close()


async def test_closing_waits_for_a_command_whose_future_was_cancelled(client: LedgerClient):
    """Cancelling a future does not unsend its command."""
    client.submit(GIFT).cancel()
    await client.close(5)
    assert client.unacknowledged == 0
