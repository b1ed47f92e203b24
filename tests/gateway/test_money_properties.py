"""Whatever clients and engines do, in any order: who saw a whole answer paid for it once, and nothing stays held."""

from contextlib import closing
from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting.command import FirstByte, Outcome
from accounting.sqlite import SqliteReader
from tests.gateway.client import Client
from tests.gateway.engine_server import CONTENT_CHUNKS, WORDS, Behaviour, answers, chunks, dies_after, says, whole
from tests.gateway.house import STREAM, House, charge_nano, question

COMPLETE_NANO = charge_nano(len(WORDS))
COUNTS = st.one_of(st.integers(-(2**70), -1), st.integers(10**9 + 1, 2**70), st.floats(), st.text(), st.booleans())
EXAMPLES = count(1)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. A client that leaves does so when it has `stays_for` parts of a stream. `fails`: the engine does."""

    streams: bool
    key: str | None
    stays_for: int | None
    behaves: Behaviour
    fails: bool

    @property
    def body(self) -> bytes:
        return question(**(STREAM if self.streams else {}))


def lies(counted: Any) -> Behaviour:
    """An engine whose last count cannot be."""
    usage = whole()["usage"] | {"completion_tokens": counted}
    *content, last = chunks()
    return says(whole() | {"usage": usage}, [*content, last | {"usage": usage}])


ENGINES = st.one_of(
    st.just((answers, False)),
    st.integers(0, CONTENT_CHUNKS).map(lambda sent: (dies_after(sent), True)),
    COUNTS.map(lambda counted: (lies(counted), True)),
)
ASKS = st.builds(
    lambda streams, key, stays_for, engine: Ask(streams, key, stays_for if streams else None, *engine),
    st.booleans(),
    st.sampled_from([None, None, "a", "b"]),
    st.sampled_from([None, None, 1, 2, 3]),
    ENGINES,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(asks=st.lists(ASKS, min_size=1, max_size=6))
async def test_who_saw_a_whole_answer_paid_for_it_once(house: House, asks: list[Ask]):
    example = next(EXAMPLES)
    answered: dict[str, bytes] = {}  # the body of each key's whole answer
    for ask in asks:
        before = await rows_of(house)
        client = await asked(house, ask, example)
        made = {name: row for name, row in (await rows_of(house)).items() if name not in before}
        assert all(row["state"] != "open" for row in made.values())
        is_whole = client.status == 200 and client.complete and is_finished(client, ask)
        if ask.key in answered:
            assert made == {}
            assert is_whole == (answered[ask.key] == ask.body)
        elif is_whole:
            (row,) = made.values()
            assert (row["why"], row["charged_nano"], row["given_back"]) == (Outcome.COMPLETE, COMPLETE_NANO, 0)
            if ask.key:
                answered[ask.key] = ask.body
        else:
            for row in made.values():
                assert (row["charged_nano"] or 0) <= (COMPLETE_NANO if ask.stays_for else 0)
                if ask.key and row["why"] == Outcome.COMPLETE:  # it left when all of it was on the way
                    answered[ask.key] = ask.body
    with closing(SqliteReader(house.file, house.clock)) as store:
        assert store.verify() == []


async def asked(house: House, ask: Ask, example: int) -> Client:
    """The client, when it has left or has its answer, and the ledger has heard of that."""
    house.engine.behaves = ask.behaves
    headers = {"idempotency_key": f"{example} {ask.key}"} if ask.key else {}
    client = Client(ask.body, house.key, **headers)
    client.stays_for = ask.stays_for
    await client.ask(house.app)
    await house.ledger.submit(FirstByte("none", 1))  # answered after all that was sent before
    return client


async def rows_of(house: House) -> dict[str, dict[str, Any]]:
    rows = house.rows(
        "SELECT request_id, state, why, charged_nano, (SELECT count(*) FROM refund WHERE refund.request_id = hold.request_id)"
        " AS given_back FROM hold"
    )
    return {row["request_id"]: row for row in rows}


def is_finished(client: Client, ask: Ask) -> bool:
    """Whether the answer says why it ended, and is one."""
    if not ask.streams:
        return client.json["choices"][0]["finish_reason"] is not None
    return client.events[-1] == "[DONE]"
