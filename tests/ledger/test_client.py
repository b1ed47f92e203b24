import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from accounting import wire
from accounting.command import AddKey, Command, FirstByte, Grant, Hold, Outcome, Post, Reply, Result, Void
from accounting.questions import FleetTotals, KeyChanges, OneRequest, Question
from accounting.sqlite import SqliteStore
from accounting.store import Snapshot, Store, StoreError, Total
from deployments.ledger import backlog, outbox
from deployments.ledger import client as client_module
from deployments.ledger.client import Address, LedgerClient, NoAnswer
from tests.ledger.commands import GIFT, HOLD, KEY, POST, PRICED, TRIED


async def nowhere() -> Address:
    raise ConnectionError("no writer")


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
    return [Grant(ref=f"gift {number}", account="credit:org", amount_nano=1) for number in range(count)]


async def test_commands_are_answered_by_name(client: LedgerClient):
    """In their order, so a post may follow its hold without waiting for it."""
    told = await results(client, PRICED, GIFT, HOLD, POST, POST)
    assert told == [Result.CREATED] * 3 + [Result.POSTED, Result.ALREADY_POSTED]
    assert client.unacknowledged == 0


async def test_a_reply_says_what_its_asker_needs(client: LedgerClient):
    """Not the result alone: which account has no room, say."""
    await results(client, PRICED, Grant(ref="gift", account="credit:org", amount_nano=HOLD.amount_nano - 1))
    assert await client.submit(HOLD) == Reply(Result.NO_ROOM, blocked_by="credit:org")


async def test_questions_are_answered_with_values(client: LedgerClient):
    """Totals are what the store says."""
    await results(client, PRICED, AddKey(KEY), GIFT, HOLD, POST)
    assert await client.ask(FleetTotals()) == Snapshot(
        totals=(
            Total(
                model="m",
                outcome="complete",
                requests=1,
                images=1,
                vision_tokens=1_196,
                text_tokens=64,
                output_tokens=150,
                charged_nano=1_000,
            ),
        ),
        holds_open=0,
        reserved_nano=0,
    )


async def test_a_question_has_arguments(client: LedgerClient):
    """They arrive at the store."""
    await results(client, PRICED, GIFT, HOLD)
    assert (await client.ask(OneRequest("r1"))).state == "open"
    assert await client.ask(OneRequest("r2")) is None


@dataclass(frozen=True, slots=True)
class Secrets(Question[str]):
    """A question of a later version."""

    def ask(self, store: Store) -> str:
        return "no question is asked by its own word"


async def test_what_the_writer_does_not_know_has_no_answer(client: LedgerClient):
    """A gateway of a later version is told so, and its connection goes on."""
    with pytest.raises(NoAnswer, match="another version"):
        await client.ask(Secrets())
    assert await client.ask(OneRequest("r9")) is None


async def test_a_store_that_cannot_read_gives_no_answer(client: LedgerClient, store: SqliteStore, file: Path):
    """A question is not repeated: who asked can ask again."""
    await client.submit(GIFT)
    await asyncio.to_thread(file.rename, file.with_suffix(".away"))
    with pytest.raises(NoAnswer):
        await client.ask(FleetTotals())
    assert client.unacknowledged == 0


async def test_long_answers_are_read_page_by_page(client: LedgerClient, monkeypatch: pytest.MonkeyPatch):
    """From the start, or behind a place."""
    monkeypatch.setattr(wire, "PAGE_ROWS_MAX", 2)
    await results(client, *(AddKey(replace(KEY, id=f"key_{n}", sha256=str(n))) for n in range(5)))
    pages = [[change.seq for change in page] async for page in client.pages(KeyChanges())]
    assert pages == [[1, 2], [3, 4], [5]]
    assert [[change.seq for change in page] async for page in client.pages(KeyChanges(), (3,))] == [[4, 5]]
    assert [page async for page in client.pages(KeyChanges(), (5,))] == []


async def test_a_question_that_nobody_waits_for_is_dropped():
    """It is not asked when there is a writer again."""
    client = LedgerClient(nowhere)
    client.start()
    asked = asyncio.create_task(client.ask(FleetTotals()))
    await asyncio.sleep(0)
    assert client.unacknowledged == 1
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert client.unacknowledged == 0
    await client.close(patience_s=0)


async def test_a_question_has_an_end(monkeypatch: pytest.MonkeyPatch):
    """Whoever waits for a writer that says nothing is told so."""
    monkeypatch.setattr(client_module, "PATIENCE_S", 0.0)
    client = LedgerClient(nowhere)
    with pytest.raises(NoAnswer):
        await client.ask(FleetTotals())
    assert client.unacknowledged == 0


async def test_what_cannot_be_sent_is_refused_at_once(client: LedgerClient):
    """It is never on the way, so it stands in nobody's; a text that is at fault is named."""
    too_long = replace(HOLD, metadata="x" * wire.COMMAND_BYTES_MAX)
    assert await client.submit(too_long) == Reply(Result.INVALID, blocked_by="metadata")
    assert await results(client, replace(HOLD, amount_nano=2**64)) == [Result.INVALID]
    assert await results(client, GIFT) == [Result.CREATED]


async def test_a_charge_is_booked_although_its_answer_is_too_long_to_be_kept(client: LedgerClient, rows: Rows):
    """Only a repeat under the same idempotency key misses it."""
    await results(client, PRICED, GIFT, replace(HOLD, idempotency_key="order 7"))
    assert await results(client, replace(POST, response="x" * wire.COMMAND_BYTES_MAX)) == [Result.POSTED]
    assert rows("SELECT response FROM idempotency") == [(None,)]


async def test_too_much_that_waits_is_not_added_to(monkeypatch: pytest.MonkeyPatch):
    """What begins something is refused; what ends a hold is kept in any case."""
    monkeypatch.setattr(outbox, "WAITING_MAX", 2)
    client = LedgerClient(nowhere)
    client.submit(GIFT)
    client.submit(POST)
    assert (await client.submit(HOLD)).result is Result.UNAVAILABLE
    assert not client.submit(POST).done()
    assert client.unacknowledged == 3


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


class FullDisk(SqliteStore):
    """A store that has no room for commands of some kinds."""

    full: tuple[type[Command], ...] = ()
    failed = 0

    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        if any(isinstance(command, self.full) for command in commands):
            self.failed += 1
            raise StoreError("the disk is full")
        return super().apply(commands)


@pytest.fixture
def store(file: Path) -> Iterator[FullDisk]:
    with closing(FullDisk(file, lambda: 1_000)) as store:
        yield store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for before it is sent again."""
    monkeypatch.setattr(client_module, "RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(backlog, "TRY_AFTER_S", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_a_charge_that_failed_is_sent_until_it_is_booked(client: LedgerClient, store: FullDisk):
    """A full disk delays a settle until there is room; it does not lose it."""
    await results(client, PRICED, GIFT, HOLD)
    store.full = (Post,)
    posted = client.submit(POST)
    while store.failed < 5:
        assert await results(client, FirstByte("r1", 1)) == [Result.CHANGED]  # what is behind it is answered
    assert not posted.done()
    store.full = ()
    assert (await posted).result is Result.POSTED


@pytest.mark.usefixtures("impatient")
async def test_a_hold_that_failed_is_sent_as_long_as_its_caller_waits(
    client: LedgerClient, store: FullDisk, monkeypatch: pytest.MonkeyPatch
):
    """Then it is not the ledger's any more, nor the queue's."""
    await results(client, PRICED, GIFT)
    store.full = (Hold,)
    held = client.submit(HOLD)
    while store.failed < 3:
        await results(client, GIFT)
    assert not held.done()
    monkeypatch.setattr(outbox, "HOLD_PATIENCE_S", 0.0)
    assert (await held).result is Result.UNAVAILABLE
    assert client.unacknowledged == 0


@pytest.mark.usefixtures("impatient")
async def test_a_charge_that_the_store_never_takes_is_given_up_aloud(
    client: LedgerClient, store: FullDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Once its hold has expired, because the store takes all others: then the fault is its own."""
    await results(client, PRICED, GIFT, HOLD)
    store.full = (Post,)
    monkeypatch.setattr(outbox, "KEPT_S", 60.0)
    posted = client.submit(POST)
    while store.failed < 5:
        await results(client, GIFT)
    assert not posted.done()
    monkeypatch.setattr(outbox, "KEPT_S", 0.0)
    while not posted.done():
        await results(client, GIFT)
    assert (await posted).result is Result.INVALID
    assert "the charge of 1000 nano-dollars for request r1" in caplog.text


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
    void = Void(request_id="r1", attempt=1, outcome=Outcome.LEDGER_FAILED, record=TRIED)
    client.submit(HOLD).add_done_callback(lambda hold: client.submit(void))
    await client.close(patience_s=10)
    assert rows("SELECT state FROM hold") == [("void",)]


async def test_closing_has_an_end():
    """Without a writer it gives up when its patience is over."""
    client = LedgerClient(nowhere)
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
        [b'{"id":1,"answer":"' + b"x" * 1_000_000 + b'"}\n'],
    ],
)
async def test_no_answer_ends_the_client(address: Address, answers: list[bytes], monkeypatch: pytest.MonkeyPatch):
    """Half a line, nonsense, an answer twice, one without end: a new connection settles what is left."""
    monkeypatch.setattr(wire, "ANSWER_BYTES_MAX", 1_000)
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
