"""Who paid for what they saw. Pure: the clients' words on one side, the ledger's rows on the other."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from accounting.command import Outcome
from torture.client import Try, Witness
from torture.plan import Habit, Role

CHARGED = frozenset({Outcome.COMPLETE, Outcome.CLIENT_LEFT})
# Who has to live for a client that leaves to be charged.
WITNESSES = frozenset({Role.GATEWAY, Role.ENGINE})


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of a request that ended. `charged_nano` is without what was given back."""

    request_id: str
    user: str
    outcome: str
    hold_nano: int
    charged_nano: int
    given_back_nano: int = 0

    @property
    def charged(self) -> bool:
        return self.outcome in CHARGED and not self.given_back_nano


@dataclass(frozen=True, slots=True)
class Rates:
    """What an answer costs: `base_nano`, and `token_nano` for each token of its output."""

    base_nano: int
    token_nano: int


class Verdict(StrEnum):
    """How a request ended, for both sides. Each is as `money.md` has it."""

    PAID = "paid"  # the whole answer was seen, and charged once
    LEFT = "left"  # the client broke it off, and pays for what was produced
    LEFT_LATE = "left late"  # the same, but all of it had been produced
    END_LOST = "end lost"  # charged for all of it, but its gateway died before it sent the last frame
    UNSEEN = "unseen"  # charged, but the client had left, or the gateway died, when its first byte was on the way
    FREE = "free"  # no charge


@dataclass(frozen=True, slots=True)
class Judgement:
    """`faults` is empty if nobody paid too much, too little or twice."""

    verdicts: Counter[Verdict]
    faults: tuple[str, ...]


def judge(witnesses: Sequence[Witness], rows: Iterable[Row], rates: Rates, died: frozenset[Role]) -> Judgement:
    """Hold every row against what its client saw, and every answer against its row. `died`: whose processes were killed."""
    by_id = {row.request_id: row for row in rows}
    verdicts: Counter[Verdict] = Counter()
    faults: list[str] = []
    tries = {witness.client.name: witness.tries for witness in witnesses}
    for row in by_id.values():
        mine = [seen for seen in tries[row.user] if seen.request_id in (row.request_id, None)]
        verdict = _verdict(row, mine, died)
        if verdict is None:
            faults.append(f"{row.user}: {row.request_id} is {row.outcome}, for no reason that its client gave")
        else:
            verdicts[verdict] += 1
            faults += _amount(row, verdict, mine, rates)
    for witness in witnesses:
        faults += [f"{witness.client.name}: {fault}" for fault in _answers(witness, by_id, died)]
    return Judgement(verdicts, tuple(faults + _doubled(witnesses, by_id.values())))


def _verdict(row: Row, tries: Sequence[Try], died: frozenset[Role]) -> Verdict | None:
    """None: there is no good reason for this charge. `tries` are those that may have been this request."""
    if not row.charged:
        return Verdict.FREE
    if any(seen.whole and seen.request_id == row.request_id for seen in tries):
        return Verdict.PAID
    left = any(seen.left for seen in tries)
    if not left and not (row.outcome == Outcome.COMPLETE and Role.GATEWAY in died):
        return None
    if all(seen.request_id != row.request_id for seen in tries):
        return Verdict.UNSEEN
    if not left:
        return Verdict.END_LOST
    return Verdict.LEFT if row.outcome == Outcome.CLIENT_LEFT else Verdict.LEFT_LATE


def _amount(row: Row, verdict: Verdict, tries: Sequence[Try], rates: Rates) -> Iterable[str]:
    """The charge is what the client was told, or at least what it saw; never more than the hold."""
    told = {seen.told_nano for seen in tries if seen.request_id == row.request_id and seen.told_nano is not None}
    if told - {row.charged_nano}:
        yield f"{row.user}: {row.request_id} cost {row.charged_nano}, the client was told {told}"
    tokens_seen = max((seen.tokens for seen in tries if seen.request_id == row.request_id), default=0)
    if row.charged and row.charged_nano < rates.base_nano + tokens_seen * rates.token_nano:
        yield f"{row.user}: {row.request_id} cost {row.charged_nano}, for {tokens_seen} tokens seen"
    if row.charged_nano > (row.hold_nano if verdict is not Verdict.FREE else 0):
        yield f"{row.user}: {row.request_id} ({verdict}) cost {row.charged_nano} of {row.hold_nano}"


def _answers(witness: Witness, rows: dict[str, Row], died: frozenset[Role]) -> Iterable[str]:
    """No byte without a hold, no end without a charge; and who leaves pays, if nobody died who might have noted it."""
    for seen in witness.tries:
        if seen.status != 200:
            continue
        row = rows.get(seen.request_id or "")
        if row is None:
            yield f"saw bytes of {seen.request_id}, which the ledger does not know"
        elif seen.whole and not row.charged:
            yield f"saw all of {seen.request_id}, which is {row.outcome}"
        elif seen.whole and (seen.finish is None or row.outcome != Outcome.COMPLETE):
            yield f"was told a part of {seen.request_id} as all of it"
        elif seen.left and seen.tokens and not row.charged and not died & WITNESSES:
            yield f"left {seen.request_id} after {seen.tokens} tokens, which is {row.outcome}"


def _doubled(witnesses: Sequence[Witness], rows: Iterable[Row]) -> list[str]:
    """An idempotency key pays for one whole answer, whatever happens; and that can always be had."""
    paid = defaultdict(list)
    for row in rows:
        if row.charged and row.outcome == Outcome.COMPLETE:
            paid[row.user].append(row.request_id)
    return [
        f"{witness.client.name}: its one idempotency key paid for {paid[witness.client.name]}, answered: {witness.answered}"
        for witness in witnesses
        if witness.client.habit is Habit.RETURNS and len(paid[witness.client.name]) != witness.answered
    ]
