"""A ledger in dictionaries: for tests of what stands on a store, and the model that the durable stores are compared with.

Kept is only what happened. Balances, limits, usage and totals are summed up anew for every question: slow, and easy to see
right.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from operator import attrgetter
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from accounting.bounds import unstorable
from accounting.budget import (
    Budget,
    BudgetState,
    Period,
    ScopeKind,
    UnknownScope,
    account_id,
    is_shared,
    parse_scope,
    scopes_of,
)
from accounting.command import (
    AddKey,
    AddPrice,
    Attempt,
    ChangeKey,
    Command,
    DropBudget,
    FirstByte,
    Grant,
    Hold,
    Outcome,
    Post,
    Refund,
    Reply,
    Result,
    RotateKey,
    Sample,
    SetBudget,
    Void,
)
from accounting.key import KeyRecord
from accounting.limits import MINUTE_MS, LimitState
from accounting.price import Price
from accounting.questions import Audit, Balances, Budgets, KeyChanges, Samples, Stays, Usage
from accounting.request import EndedAttempt, Generation, Units
from accounting.stay import Stay
from accounting.store import (
    ALL,
    SLOT_MS_MAX,
    Account,
    AuditLine,
    Balance,
    Entry,
    Fault,
    KeyChange,
    Place,
    Snapshot,
    StoreError,
    Total,
)
from accounting.usage import GROUPS, Bucket, UsageQuery, bucket_start

DAY_MS = 24 * 3_600_000
COUNTED_AGAIN = ("requests_per_minute", "images_per_minute")
AMOUNT_MAX = 2**63 - 1

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Kept:
    """What is kept of an account. `wanted_nano` is its limit, unless more is in use already."""

    kind: str
    wanted_nano: int | None = None
    alert_nano: int | None = None
    alerted_at_ms: int | None = None


@dataclass(slots=True)
class Held:
    """A hold and what became of it. `state`: open, posted or void."""

    hold: Hold
    accounts: list[str]  # credit first
    created_at_ms: int
    expires_at_ms: int
    gateway_id: str
    attempt: int = 1
    state: str = "open"
    first_byte_at_ms: int | None = None
    closed_at_ms: int | None = None
    charged_nano: int | None = None
    outcome: Outcome | None = None
    response: str | None = None
    record: Attempt | None = None  # of the attempt that ended it
    attempts: dict[int, Attempt] = field(default_factory=dict)
    retries: dict[str, int] = field(default_factory=dict)  # attempt, by the request that took it over
    again: list[tuple[Hold, int]] = field(default_factory=list)  # those requests, and when

    def close(self, state: str, outcome: Outcome, now_ms: int) -> None:
        self.state, self.outcome, self.closed_at_ms = state, outcome, now_ms

    def was_charged(self, attempt: int) -> bool:
        return self.state == "posted" and attempt == self.attempt


def _alone(method: Callable[Concatenate["MemoryStore", P], T]) -> Callable[Concatenate["MemoryStore", P], T]:
    """Questions come from other threads than commands."""

    @wraps(method)
    def alone(self: "MemoryStore", /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


class MemoryStore:
    """Implements `accounting.store.Store`, but for durability. `now_ms` is the store's clock, in milliseconds UTC."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = RLock()
        self._accounts = {name: Kept("contra") for name in ("revenue", "contra:grant", "contra:budget")}
        self._entries: list[Entry] = []
        self._holds: dict[str, Held] = {}
        self._idempotent: dict[tuple[str, str], tuple[Held, int]] = {}  # and until when
        self._budgets: dict[tuple[str, Period], Budget] = {}
        self._grants: dict[str, Grant] = {}
        self._refunds: dict[str, Refund] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._key_seqs: dict[str, int] = {}  # of each key's last change
        self._prices: dict[tuple[str, int], Price] = {}
        self._samples: dict[tuple[str, str, int], Sample] = {}
        self._audit: list[AuditLine] = []
        self._steps: dict[type[Any], Callable[[Any], Reply]] = {
            Hold: self._hold,
            FirstByte: self._first_byte,
            Post: self._post,
            Void: self._void,
            Grant: self._grant,
            Refund: self._refund,
            SetBudget: self._set_budget,
            DropBudget: self._drop_budget,
            AddKey: self._add_key,
            ChangeKey: self._change_key,
            RotateKey: self._rotate_key,
            AddPrice: self._add_price,
            Sample: self._sample,
        }

    @_alone
    def apply(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Store.apply`."""
        return [self._carry_out(command) for command in commands]

    @_alone
    def sweep(self) -> int:
        """See `Store.sweep`."""
        now_ms = self._now_ms()
        expired = [held for held in self._open() if held.expires_at_ms <= now_ms]
        for held in expired:
            held.close("void", Outcome.EXPIRED, now_ms)
            self._alert(held.accounts)
        return len(expired)

    @_alone
    def restore(self, accounts: Sequence[Account], prices: Sequence[Price], entries: Iterable[Entry]) -> None:
        """See `Store.restore`."""
        if self._entries or self._holds:
            raise StoreError("this ledger is in use; import into a new one")
        for price in prices:
            if self._prices.get((price.model, price.version), price) != price:
                raise StoreError(f"version {price.version} of the price of {price.model} is another here")
        lines = list(entries)
        known = {account.id for account in accounts} | self._accounts.keys()
        twice = Counter((line.kind, line.ref, line.account) for line in lines).most_common(1)
        if not {line.account for line in lines} <= known or any(count > 1 for _, count in twice):
            raise StoreError("these lines are not those of one ledger; export it again")
        self._prices |= {(price.model, price.version): price for price in prices}
        for account in accounts:
            self._accounts[account.id] = Kept(account.kind, account.limit_nano)
        self._entries = lines
        self._note("operator", "restore", {"last_seq": lines[-1].seq if lines else 0})

    def close(self) -> None:
        """See `Store.close`."""

    # --- Commands

    def _carry_out(self, command: Command) -> Reply:
        if text := unstorable(command):
            return Reply(Result.INVALID, blocked_by=text)
        return self._steps[type(command)](command)

    def _hold(self, hold: Hold) -> Reply:
        if reply := self._known(hold) or self._take_over(hold) or self._replay(hold):
            return reply
        now_ms = self._now_ms()
        budgets = self._budgets_of(hold)
        limits = self._limits(hold)
        if refusal := self._over_a_limit(limits) or self._refusal(hold, budgets):
            return refusal
        for account, budget in budgets.items():
            self._accounts.setdefault(account, Kept("budget", budget.limit_nano, budget.alert_nano))
        accounts = [f"credit:{hold.org_id}", *budgets]
        held = Held(hold, accounts, now_ms, now_ms + hold.expires_in_ms, hold.gateway_id)
        self._holds[hold.request_id] = held
        if hold.idempotency_key is not None:
            days = 7 if hold.tier == "batch" else 1
            self._idempotent[hold.key_id, hold.idempotency_key] = held, now_ms + days * DAY_MS
        return Reply(Result.CREATED, request_id=hold.request_id, limits=limits)

    def _known(self, hold: Hold) -> Reply | None:
        if held := self._holds.get(hold.request_id):
            same = _content(held.hold) == _content(hold)
            return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT, request_id=hold.request_id)
        for request_id, held in self._holds.items():
            if hold.is_retry and hold.request_id in held.retries:
                return Reply(Result.TAKEN_OVER, request_id=request_id, attempt=held.retries[hold.request_id])
        return None

    def _take_over(self, hold: Hold) -> Reply | None:
        now_ms = self._now_ms()
        alike = [
            held
            for held in self._open()
            if hold.is_retry
            and _content(held.hold) == _content(hold)
            and held.hold.idempotency_key == hold.idempotency_key
            and held.first_byte_at_ms is None
            and now_ms < held.created_at_ms + 10 * MINUTE_MS
            and held.attempt < 3
        ]
        if not alike:
            return None
        counted = [limit for limit in self._limits(hold) if limit.name in COUNTED_AGAIN]
        if refusal := self._over_a_limit(counted):
            return refusal
        held = min(alike, key=lambda one: (-one.created_at_ms, one.hold.request_id))
        held.again.append((hold, now_ms))
        held.attempt += 1
        held.gateway_id = hold.gateway_id
        held.expires_at_ms = now_ms + hold.expires_in_ms
        held.retries[hold.request_id] = held.attempt
        return Reply(Result.TAKEN_OVER, request_id=held.hold.request_id, attempt=held.attempt)

    def _replay(self, hold: Hold) -> Reply | None:
        if hold.idempotency_key is None:
            return None
        held, until_ms = self._idempotent.get((hold.key_id, hold.idempotency_key), (None, 0))
        if held is None or self._now_ms() >= until_ms or held.state == "void":
            return None
        if held.hold.body_sha != hold.body_sha:
            return Reply(Result.IDEMPOTENCY_KEY_REUSED)
        if held.state == "open":
            return Reply(Result.IN_PROGRESS, request_id=held.hold.request_id, retry_after_ms=1_000)
        if held.outcome is not Outcome.COMPLETE:
            return None
        return Reply(Result.REPLAYED, request_id=held.hold.request_id, response=held.response)

    def _refusal(self, hold: Hold, budgets: dict[str, Budget]) -> Reply | None:
        if not 0 <= hold.amount_nano <= AMOUNT_MAX or hold.tier not in {"default", "batch"}:
            return Reply(Result.INVALID)
        if (hold.model, hold.price_version) not in self._prices:
            return Reply(Result.NO_SUCH_PRICE)
        credit = f"credit:{hold.org_id}"
        if credit not in self._accounts:
            return Reply(Result.NO_SUCH_ACCOUNT, blocked_by=credit)
        for account in (credit, *budgets):
            limit = self._limit(account) if account in self._accounts else budgets[account].limit_nano
            if limit is not None and self._used(account) + hold.amount_nano > limit:
                return Reply(Result.NO_ROOM, blocked_by=account)
        return None

    def _limits(self, hold: Hold) -> tuple[LimitState, ...]:
        """What would be left of each limit; below zero: it is refused."""
        now_ms = self._now_ms()
        minute_ends_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS
        return tuple(
            LimitState(
                name=name,
                limit=cap,
                remaining=cap - self._taken(hold.root, name) - _share(hold, name),
                reset_ms=1_000 if name == "concurrency" else minute_ends_ms - now_ms,
            )
            for name, cap in hold.limits.given().items()
        )

    def _over_a_limit(self, limits: Iterable[LimitState]) -> Reply | None:
        for limit in limits:
            if limit.remaining < 0:
                return Reply(Result.RATE_LIMITED, blocked_by=limit.name, retry_after_ms=limit.reset_ms)
        return None

    def _taken(self, root: str, name: str) -> int:
        """What requests of this minute have taken of a limit; of concurrency, those that run."""
        now_ms = self._now_ms()
        counted = [held for held in self._holds.values() if held.hold.root == root and name in held.hold.limits.given()]
        if name == "concurrency":
            return sum(held.state == "open" for held in counted)
        this_minute = [held for held in counted if held.created_at_ms // MINUTE_MS == now_ms // MINUTE_MS]
        if name == "tokens_per_minute":
            return sum(min(held.hold.tokens_max, _tokens_used(held)) for held in this_minute)
        again = [
            hold
            for held in self._holds.values()
            for hold, at_ms in held.again
            if hold.root == root and name in hold.limits.given() and at_ms // MINUTE_MS == now_ms // MINUTE_MS
        ]
        return sum(_share(hold, name) for hold in [*(held.hold for held in this_minute), *again])

    def _budgets_of(self, hold: Hold) -> dict[str, Budget]:
        """The budgets that bound a request, by account."""
        scopes = scopes_of(hold.org_id, hold.project_id, hold.root)
        return {
            account_id(scope, period, self._now_ms()): budget
            for (scope, period), budget in sorted(self._budgets.items())
            if scope in scopes
        }

    def _first_byte(self, command: FirstByte) -> Reply:
        held = self._holds.get(command.request_id)
        if held is None or held.state != "open" or held.attempt != command.attempt:
            return self._not_open(command)
        if held.first_byte_at_ms is None:
            held.first_byte_at_ms = self._now_ms()
        return Reply(Result.CHANGED, request_id=command.request_id)

    def _post(self, command: Post) -> Reply:
        held = self._holds.get(command.request_id)
        if held is None or held.state != "open" or held.attempt != command.attempt:
            return self._too_late(command)
        if not 0 <= command.charged_nano <= AMOUNT_MAX or not _fits(command.record):
            return Reply(Result.INVALID)
        if command.charged_nano > held.hold.amount_nano:
            return Reply(Result.ABOVE_THE_HOLD)
        held.close("posted", command.outcome, self._now_ms())
        held.charged_nano, held.response = command.charged_nano, command.response
        held.record = held.attempts[command.attempt] = command.record
        if command.charged_nano:
            self._book("charge", command.request_id, _paid_by(held.accounts, command.charged_nano))
        self._alert(held.accounts)
        return Reply(Result.POSTED, request_id=command.request_id)

    def _void(self, command: Void) -> Reply:
        held = self._holds.get(command.request_id)
        if held is None or held.state != "open" or held.attempt != command.attempt:
            return self._too_late(command)
        if not _fits(command.record):
            return Reply(Result.INVALID)
        held.close("void", command.outcome, self._now_ms())
        held.record = held.attempts[command.attempt] = command.record
        self._alert(held.accounts)
        return Reply(Result.VOIDED, request_id=command.request_id)

    def _too_late(self, end: Post | Void) -> Reply:
        held = self._holds.get(end.request_id)
        if held and end.attempt <= held.attempt:
            held.attempts.setdefault(end.attempt, end.record)
        return self._not_open(end)

    def _not_open(self, command: FirstByte | Post | Void) -> Reply:
        held = self._holds.get(command.request_id)
        if held and held.attempt != command.attempt:
            return Reply(Result.NOT_THE_CURRENT_ATTEMPT, request_id=command.request_id)
        match held and held.state:
            case "posted":
                return Reply(Result.ALREADY_POSTED, request_id=command.request_id)
            case "void":
                return Reply(Result.ALREADY_VOID, request_id=command.request_id)
        return Reply(Result.NO_SUCH_HOLD, request_id=command.request_id)

    def _alert(self, accounts: Iterable[str]) -> None:
        for name in accounts:
            account = self._accounts[name]
            reached = account.alert_nano is not None and self._posted(name) >= account.alert_nano
            if reached and account.alerted_at_ms is None:
                account.alerted_at_ms = self._now_ms()

    def _grant(self, grant: Grant) -> Reply:
        if not 1 <= grant.amount_nano <= AMOUNT_MAX:
            return Reply(Result.INVALID)
        if known := self._grants.get(grant.ref):
            same = (known.account, known.amount_nano) == (grant.account, grant.amount_nano)
            return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT)
        self._grants[grant.ref] = grant
        self._accounts.setdefault(grant.account, Kept("credit", wanted_nano=0))
        self._book("grant", grant.ref, {grant.account: -grant.amount_nano, "contra:grant": grant.amount_nano})
        self._note(grant.by, "grant", asdict(grant))
        return Reply(Result.CREATED)

    def _refund(self, refund: Refund) -> Reply:
        if known := self._refunds.get(refund.ref):
            same = (known.request_id, known.amount_nano) == (refund.request_id, refund.amount_nano)
            return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT, request_id=refund.request_id)
        held = self._holds.get(refund.request_id)
        if held is None or held.charged_nano is None:
            return Reply(Result.NO_SUCH_HOLD, request_id=refund.request_id)
        if refund.amount_nano < 1:
            return Reply(Result.INVALID)
        given = sum(one.amount_nano for one in self._refunds.values() if one.request_id == refund.request_id)
        if given + refund.amount_nano > held.charged_nano:
            return Reply(Result.ABOVE_THE_HOLD, request_id=refund.request_id)
        self._refunds[refund.ref] = refund
        self._book("refund", refund.ref, _paid_by(held.accounts, -refund.amount_nano))
        self._alert(held.accounts)
        self._note(refund.by, "refund", asdict(refund))
        return Reply(Result.CREATED, request_id=refund.request_id)

    def _set_budget(self, command: SetBudget) -> Reply:
        try:
            kind, name = parse_scope(command.scope)
        except UnknownScope:
            return Reply(Result.INVALID)
        if kind is ScopeKind.KEY and (name not in self._keys or self._keys[name].root != name):
            return Reply(Result.NO_SUCH_KEY)
        if is_shared(command.scope):
            return Reply(Result.INVALID)
        if command.limit_nano < 1 or (command.alert_nano is not None and command.alert_nano < 1):
            return Reply(Result.INVALID)
        budget = Budget(
            scope=command.scope, period=command.period, limit_nano=command.limit_nano, alert_nano=command.alert_nano
        )
        known = self._budgets.get((command.scope, command.period))
        if known == budget:
            return Reply(Result.CHANGED)
        self._budgets[command.scope, command.period] = budget
        account = self._accounts.setdefault(self._account_of(budget), Kept("budget"))
        account.wanted_nano, account.alert_nano, account.alerted_at_ms = budget.limit_nano, budget.alert_nano, None
        self._note(command.by, "set_budget", asdict(command))
        return Reply(Result.CHANGED if known else Result.CREATED)

    def _drop_budget(self, command: DropBudget) -> Reply:
        budget = self._budgets.pop((command.scope, command.period), None)
        if budget is None:
            return Reply(Result.NO_SUCH_BUDGET)
        if account := self._accounts.get(self._account_of(budget)):
            account.wanted_nano = account.alert_nano = None
        self._note(command.by, "drop_budget", asdict(command))
        return Reply(Result.CHANGED)

    def _add_key(self, command: AddKey) -> Reply:
        record = command.record
        if self._is_taken(record):
            return Reply(Result.EXISTS)
        if command.credit_nano:
            given = self._grant(
                Grant(
                    ref=f"key:{record.id}",
                    account=record.credit_account,
                    amount_nano=command.credit_nano,
                    by=command.by,
                )
            )
            if given.result is not Result.CREATED:
                return Reply(Result.INVALID)
        self._keep_key(replace(record, created_at_ms=self._now_ms()))
        self._note(command.by, "add_key", _public(record))
        return Reply(Result.CREATED)

    def _change_key(self, command: ChangeKey) -> Reply:
        known = self._keys.get(command.record.id)
        if known is None:
            return Reply(Result.NO_SUCH_KEY)
        changing = ("name", "scopes", "models", "limits", "expires_at_ms")
        changed = replace(known, **{name: getattr(command.record, name) for name in changing})
        if known.revoked_at_ms is None:
            changed = replace(changed, revoked_at_ms=command.record.revoked_at_ms)
        if changed != known:
            self._keep_key(changed)
            self._note(command.by, "change_key", _public(command.record))
        return Reply(Result.CHANGED)

    def _rotate_key(self, command: RotateKey) -> Reply:
        old, new, now_ms = self._keys.get(command.key_id), command.successor, self._now_ms()
        if old and old.rotated_to == new.id:
            return Reply(Result.EXISTS)
        if old is None or old.rotated_to is not None or not old.works_at(now_ms):
            return Reply(Result.NO_SUCH_KEY)
        if self._is_taken(new):
            return Reply(Result.EXISTS_WITH_DIFFERENT_CONTENT)
        ends_at_ms = now_ms + command.grace_ms
        if old.expires_at_ms is not None:
            ends_at_ms = min(ends_at_ms, old.expires_at_ms)
        self._keep_key(replace(old, rotated_to=new.id, expires_at_ms=ends_at_ms))
        self._keep_key(replace(new, created_at_ms=now_ms))
        self._note(command.by, "rotate_key", {"key_id": old.id, "successor": _public(new)})
        return Reply(Result.CREATED)

    def _keep_key(self, record: KeyRecord) -> None:
        self._keys[record.id] = record
        self._key_seqs[record.id] = max(self._key_seqs.values(), default=0) + 1

    def _is_taken(self, record: KeyRecord) -> bool:
        return any(record.id == known.id or record.sha256 == known.sha256 for known in self._keys.values())

    def _add_price(self, command: AddPrice) -> Reply:
        price = command.price
        amounts = (price.unit_nano, price.batch_unit_nano, price.text_token_nano, price.output_token_nano)
        if not all(0 <= amount <= AMOUNT_MAX for amount in amounts):
            return Reply(Result.INVALID)
        if known := self._prices.get((price.model, price.version)):
            return Reply(Result.EXISTS if known == price else Result.EXISTS_WITH_DIFFERENT_CONTENT)
        self._prices[price.model, price.version] = price
        return Reply(Result.CREATED)

    def _sample(self, sample: Sample) -> Reply:
        if sample.rent_nano_per_hour < 0 or sample.state not in {"loading", "ready", "ended"}:
            return Reply(Result.INVALID)
        identity = sample.replica_id, sample.epoch, sample.at_ms
        if identity in self._samples:
            return Reply(Result.EXISTS)
        self._samples[identity] = sample
        return Reply(Result.CREATED)

    def _book(self, kind: str, ref: str, amounts: dict[str, int]) -> None:
        for account, amount_nano in amounts.items():
            seq = self._entries[-1].seq + 1 if self._entries else 1
            self._entries.append(
                Entry(seq=seq, kind=kind, ref=ref, account=account, amount_nano=amount_nano, at_ms=self._now_ms())
            )

    def _note(self, by: str, action: str, content: object) -> None:
        self._audit.append(
            AuditLine(
                seq=len(self._audit) + 1, at_ms=self._now_ms(), actor=by, action=action, content=json.dumps(content)
            )
        )

    # --- Sums

    def _open(self) -> Iterator[Held]:
        return (held for held in self._holds.values() if held.state == "open")

    def _posted(self, account: str) -> int:
        return sum(entry.amount_nano for entry in self._entries if entry.account == account)

    def _reserved(self, account: str) -> int:
        return sum(held.hold.amount_nano for held in self._open() if account in held.accounts)

    def _used(self, account: str) -> int:
        return self._posted(account) + self._reserved(account)

    def _limit(self, account: str) -> int | None:
        """A limit below what is in use is reached as that goes down."""
        wanted = self._accounts[account].wanted_nano
        return None if wanted is None else max(wanted, self._used(account))

    def _account_of(self, budget: Budget) -> str:
        return account_id(budget.scope, budget.period, self._now_ms())

    # --- Questions

    @_alone
    def keys(self) -> list[KeyRecord]:
        """See `Store.keys`."""
        return sorted(self._keys.values(), key=attrgetter("created_at_ms", "id"))

    @_alone
    def key_changes(self, after: Place = (), limit: int = ALL) -> list[KeyChange]:
        """See `Store.key_changes`."""
        changes = [KeyChange(self._key_seqs[key_id], record) for key_id, record in self._keys.items()]
        return _page(changes, KeyChanges.place, after, limit)

    @_alone
    def prices(self) -> list[Price]:
        """See `Store.prices`."""
        return [price for _, price in sorted(self._prices.items())]

    @_alone
    def budgets(self, after: Place = (), limit: int = ALL) -> list[BudgetState]:
        """See `Store.budgets`."""
        return _page(map(self._state, self._budgets.values()), Budgets.place, after, limit)

    def _state(self, budget: Budget) -> BudgetState:
        name = self._account_of(budget)
        account = self._accounts.get(name)
        limit = self._limit(name) if account else None
        return BudgetState(
            budget=budget,
            account=name,
            limit_nano=budget.limit_nano if limit is None else limit,
            posted_nano=self._posted(name),
            reserved_nano=self._reserved(name),
            alerted_at_ms=account.alerted_at_ms if account else None,
        )

    @_alone
    def balances(self, after: Place = (), limit: int = ALL) -> list[Balance]:
        """See `Store.balances`."""
        accounts = [
            Balance(
                account=name,
                kind=account.kind,
                limit_nano=self._limit(name),
                posted_nano=self._posted(name),
                reserved_nano=self._reserved(name),
            )
            for name, account in self._accounts.items()
        ]
        return _page(accounts, Balances.place, after, limit)

    @_alone
    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for held in self._holds.values():
            if held.outcome:
                work = _work(held.record) | {"requests": 1, "charged_nano": held.charged_nano or 0}
                sums[held.hold.model, held.outcome].update(work)
        names = ("requests", "images", "vision_tokens", "text_tokens", "output_tokens", "charged_nano")
        totals = tuple(
            Total(model=model, outcome=outcome, **{name: found[name] for name in names})
            for (model, outcome), found in sorted(sums.items())
        )
        held_now = list(self._open())
        return Snapshot(
            totals=totals, holds_open=len(held_now), reserved_nano=sum(held.hold.amount_nano for held in held_now)
        )

    @_alone
    def generation(self, request_id: str) -> Generation | None:
        """See `Store.generation`."""
        held = self._holds.get(request_id)
        if held is None:
            return None
        hold = held.hold
        return Generation(
            request_id=request_id,
            attempt=held.attempt,
            gateway_id=held.gateway_id,
            key_id=hold.key_id,
            org_id=hold.org_id,
            project_id=hold.project_id,
            user_id=hold.user_id,
            metadata=hold.metadata,
            model=hold.model,
            price_version=hold.price_version,
            tier=hold.tier,
            units=Units(images=hold.image_units, output=hold.output_units),
            parts=tuple(held.accounts),
            amount_nano=hold.amount_nano,
            charged_nano=held.charged_nano,
            state=held.state,
            why=held.outcome,
            created_at_ms=held.created_at_ms,
            first_byte_at_ms=held.first_byte_at_ms,
            expires_at_ms=held.expires_at_ms,
            closed_at_ms=held.closed_at_ms,
            attempts=tuple(
                EndedAttempt(attempt=number, charged=held.was_charged(number), record=record)
                for number, record in sorted(held.attempts.items())
            ),
        )

    @_alone
    def takeovers(self) -> list[tuple[str, int]]:
        """See `Store.takeovers`."""
        return sorted((held.hold.request_id, held.attempt) for held in self._open() if held.attempt > 1)

    @_alone
    def usage(self, query: UsageQuery, after: Place = (), limit: int = ALL) -> list[Bucket]:
        """See `Store.usage`."""
        if not set(query.group_by) <= set(GROUPS):
            raise ValueError(f"usage is grouped by {', '.join(GROUPS)}")
        sums: defaultdict[tuple[int, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
        for held in self._holds.values():
            start_ms = bucket_start(query.width, held.created_at_ms)
            if held.state == "posted" and query.from_ms <= start_ms < query.to_ms and _passes(held.hold, query):
                group = tuple(getattr(held.hold, name) or "" for name in query.group_by)
                sums[start_ms, group].update(_use(held))
        names = (
            "requests", "images", "units", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "revenue_nano",
        )  # fmt: skip
        buckets = [
            Bucket(start_ms=start_ms, group=group, **{name: found[name] for name in names})
            for (start_ms, group), found in sums.items()
        ]
        return _page(buckets, Usage.place, after, limit)

    @_alone
    def entries(self, after_seq: int, limit: int) -> list[Entry]:
        """See `Store.entries`."""
        return [entry for entry in self._entries if entry.seq > after_seq][:limit]

    @_alone
    def ended_requests(self, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
        """See `Store.ended_requests`."""
        rows = [_usage_row(held) for held in self._holds.values() if held.closed_at_ms is not None]
        return sorted(
            (row for row in rows if from_ms <= row["closed_at_ms"] < to_ms),
            key=lambda row: (row["closed_at_ms"], row["request_id"]),
        )

    @_alone
    def stays(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Stay]:
        """See `Store.stays`."""
        stays = [stay for held in self._holds.values() for stay in _stays(held)]
        overlapping = (
            stay
            for stay in stays
            if stay.to_ms > from_ms and stay.from_ms < to_ms and stay.to_ms - stay.from_ms < SLOT_MS_MAX
        )
        return _page(overlapping, Stays.place, after, limit)

    @_alone
    def samples(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[Sample]:
        """See `Store.samples`."""
        taken = (sample for sample in self._samples.values() if from_ms <= sample.at_ms < to_ms)
        return _page(taken, Samples.place, after, limit)

    @_alone
    def audit(self, from_ms: int, to_ms: int, after: Place = (), limit: int = ALL) -> list[AuditLine]:
        """See `Store.audit`."""
        return _page((line for line in self._audit if from_ms <= line.at_ms < to_ms), Audit.place, after, limit)

    @_alone
    def verify(self) -> list[Fault]:
        """See `Store.verify`. What is summed up anew cannot differ from its sum: this is about the rest."""
        return [*self._unbalanced(), *self._overspent(), *self._overcharged()]

    def _unbalanced(self) -> Iterator[Fault]:
        sums: Counter[tuple[str, str]] = Counter()
        for entry in self._entries:
            sums[entry.kind, entry.ref] += entry.amount_nano
        return (
            Fault("P1 zero sum", f"{kind} {ref} sums to {amount}") for (kind, ref), amount in sums.items() if amount
        )

    def _overspent(self) -> Iterator[Fault]:
        for name, account in self._accounts.items():
            if account.kind == "credit" and self._used(name) > 0:
                yield Fault("P3 limit", f"{name} is above its limit")

    def _overcharged(self) -> Iterator[Fault]:
        for held in self._holds.values():
            if (held.charged_nano or 0) > held.hold.amount_nano:
                yield Fault("P7 hold", f"{held.hold.request_id} was charged {held.charged_nano}")


def _page(rows: Iterable[R], place: Callable[[R], Place], after: Place, limit: int) -> list[R]:
    """Those of the rows that are behind a place, in order."""
    return sorted((row for row in rows if not after or place(row) > after), key=place)[:limit]


def _content(hold: Hold) -> tuple[object, ...]:
    """What makes two holds the same request."""
    return hold.key_id, hold.model, hold.price_version, hold.amount_nano, hold.body_sha


def _fits(record: Attempt) -> bool:
    """Counts have 64 bits."""
    return all(value <= AMOUNT_MAX for value in asdict(record).values() if isinstance(value, int))


def _share(hold: Hold, name: str) -> int:
    """What a request takes of a limit."""
    return {"images_per_minute": len(hold.image_units), "tokens_per_minute": hold.tokens_max}.get(name, 1)


def _tokens_used(held: Held) -> int:
    """As far as it is known: an open hold, or one that nobody ended, may have used all."""
    if held.record is None:
        return held.hold.tokens_max
    return held.record.text_tokens + held.record.vision_tokens + held.record.output_tokens


def _paid_by(accounts: Sequence[str], amount_nano: int) -> dict[str, int]:
    credit, *budgets = accounts
    amounts = {credit: amount_nano, "revenue": -amount_nano} | dict.fromkeys(budgets, amount_nano)
    return amounts | ({"contra:budget": -amount_nano * len(budgets)} if budgets else {})


def _public(record: KeyRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "sha256"}


def _passes(hold: Hold, query: UsageQuery) -> bool:
    wanted = (
        (hold.model, query.models),
        (hold.key_id, query.key_ids),
        (hold.project_id, query.project_ids),
        (hold.user_id or "", query.user_ids),
        (hold.org_id, query.org_ids),
    )
    return all(not names or name in names for name, names in wanted)


def _use(held: Held) -> dict[str, int]:
    return _work(held.record) | {
        "requests": 1,
        "units": sum(held.hold.image_units),
        "revenue_nano": held.charged_nano or 0,
    }


def _work(record: Attempt | None) -> dict[str, int]:
    names = ("images", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens")
    return {name: getattr(record, name) if record else 0 for name in names}


def _units(hold: Hold) -> str:
    return json.dumps({"images": hold.image_units, "output": hold.output_units}, separators=(",", ":"))


def _stays(held: Held) -> Iterator[Stay]:
    """Those of a request's attempts that had a slot."""
    for number, record in held.attempts.items():
        if record.replica_id is not None and record.slot_from_ms is not None and record.slot_to_ms is not None:
            yield Stay(
                request_id=held.hold.request_id,
                attempt=number,
                replica_id=record.replica_id,
                model=held.hold.model,
                from_ms=record.slot_from_ms,
                to_ms=record.slot_to_ms,
                finish=record.finish,
                prompt_tokens=record.text_tokens + record.vision_tokens,
                output_tokens=record.output_tokens,
                charged_nano=held.charged_nano if held.was_charged(number) else None,
            )


def _usage_row(held: Held) -> dict[str, Any]:
    hold = held.hold
    last = held.attempts.get(held.attempt)
    measured = ("images", "text_tokens", "vision_tokens", "cached_tokens", "output_tokens", "ttft_ms", "latency_ms")
    return {
        "request_id": hold.request_id,
        **{
            name: getattr(hold, name)
            for name in ("org_id", "project_id", "key_id", "user_id", "metadata", "model", "tier")
        },
        "price_version": hold.price_version,
        "units": _units(hold),
        **{name: getattr(last, name, None) for name in (*measured, "replica_id", "finish")},
        "hold_nano": hold.amount_nano,
        "charged_nano": held.charged_nano or 0,
        "outcome": held.outcome,
        "created_at_ms": held.created_at_ms,
        "closed_at_ms": held.closed_at_ms,
    }
