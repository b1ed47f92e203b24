"""Entries, credit, refunds and budgets. Each command's function carries it out and notes it in the audit log."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from accounting.budget import ScopeKind, account_id, is_shared, parse_scope
from accounting.command import AddPrice, DropBudget, Grant, Refund, Reply, Result, Sample, SetBudget
from accounting.sql.database import Database, values

# The other sides of charges, of what budgets count, and of grants.
REVENUE = "revenue"
BUDGETS = "contra:budget"
GRANTS = "contra:grant"


def book(db: Database, kind: str, ref: str, amounts: dict[str, int], held: dict[str, int] | None = None) -> None:
    """Write the entries of one transaction, which sum to zero, and give back what was `held` for it. Raises `Refused`."""
    if amounts:
        lines, parameters = values([(kind, ref, account, nano, db.now_ms) for account, nano in amounts.items()])
        db.later(f"INSERT INTO entry (kind, ref, account_id, amount_nano, at_ms) VALUES {lines}", *parameters)
    held = held or {}
    move(db, {account: (-held.get(account, 0), amounts.get(account, 0)) for account in amounts | held})


def move(db: Database, amounts: dict[str, tuple[int, int]]) -> None:
    """Change what is reserved and what is posted in accounts. A limit that was lowered below what was in use goes down with
    it, to where it was wanted; what reaches its alert is marked. Raises `Refused`.
    """
    for account, (reserved, posted) in amounts.items():
        db.later(
            "UPDATE account SET reserved_nano = reserved_nano + ?, posted_nano = posted_nano + ?,"
            " limit_nano = CASE WHEN wanted_nano < limit_nano THEN"
            " CASE WHEN posted_nano + reserved_nano + ? > wanted_nano THEN posted_nano + reserved_nano + ? ELSE wanted_nano END"
            " ELSE limit_nano END,"
            " alerted_at_ms = CASE WHEN alerted_at_ms IS NULL AND posted_nano + ? >= alert_nano THEN ? ELSE alerted_at_ms END"
            " WHERE id = ?",
            reserved, posted, reserved + posted, reserved + posted, posted, db.now_ms, account,
        )  # fmt: skip


def paid_by(accounts: Sequence[str], amount_nano: int) -> dict[str, int]:
    """What a charge moves: the credit, which is the first of its accounts, pays it, and each budget counts it."""
    credit, *budgets = accounts
    amounts = {credit: amount_nano, REVENUE: -amount_nano}
    if budgets:
        amounts |= dict.fromkeys(budgets, amount_nano) | {BUDGETS: -amount_nano * len(budgets)}
    return amounts


def note(db: Database, by: str, action: str, content: object) -> None:
    """Write a line of the audit log."""
    db.later(
        "INSERT INTO audit (at_ms, actor, action, content) VALUES (?, ?, ?, ?)",
        db.now_ms,
        by,
        action,
        json.dumps(content),
    )


def grant(db: Database, command: Grant) -> Reply:
    """See `Grant`. Prepaid: the account's limit is 0, and a grant makes `posted` negative."""
    if command.amount_nano < 1:
        return Reply(Result.INVALID)
    given = db.one(
        "SELECT account_id, -amount_nano FROM entry WHERE kind = 'grant' AND ref = ? AND account_id <> ?",
        command.ref, GRANTS,
    )  # fmt: skip
    if given:
        same = given == (command.account, command.amount_nano)
        return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT)
    db.change(
        "INSERT INTO account (id, kind, limit_nano) VALUES (?, 'credit', 0) ON CONFLICT DO NOTHING", command.account
    )
    book(db, "grant", command.ref, {command.account: -command.amount_nano, GRANTS: command.amount_nano})
    note(db, command.by, "grant", asdict(command))
    return Reply(Result.CREATED)


def refund(db: Database, command: Refund) -> Reply:
    """See `Refund`."""
    known = db.one("SELECT request_id, amount_nano FROM refund WHERE ref = ?", command.ref)
    if known:
        same = known == (command.request_id, command.amount_nano)
        return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT, request_id=command.request_id)
    hold = db.one("SELECT parts FROM hold WHERE request_id = ? AND state = 'posted'", command.request_id)
    if hold is None:
        return Reply(Result.NO_SUCH_HOLD, request_id=command.request_id)
    given = db.change(
        "INSERT INTO refund (ref, request_id, amount_nano, reason) SELECT ?, request_id, ?, ? FROM hold"
        " WHERE request_id = ? AND charged_nano >= ?"
        " + (SELECT coalesce(sum(amount_nano), 0) FROM refund WHERE refund.request_id = hold.request_id)",
        command.ref, command.amount_nano, command.reason, command.request_id, command.amount_nano,
    )  # fmt: skip
    if not given:
        return Reply(Result.ABOVE_THE_HOLD, request_id=command.request_id)
    book(db, "refund", command.ref, paid_by(json.loads(hold[0]), -command.amount_nano))
    note(db, command.by, "refund", asdict(command))
    return Reply(Result.CREATED, request_id=command.request_id)


def set_budget(db: Database, command: SetBudget) -> Reply:
    """See `SetBudget`."""
    kind, name = parse_scope(command.scope)
    if kind is ScopeKind.KEY and db.one("SELECT 1 FROM api_key WHERE id = ? AND root_id IN ('', id)", name) is None:
        return Reply(Result.NO_SUCH_KEY)
    if is_shared(command.scope):
        return Reply(Result.INVALID)
    known = db.one(
        "SELECT limit_nano, alert_nano, coalesce(account_scope, scope) FROM budget WHERE scope = ? AND period = ?",
        command.scope, command.period,
    )  # fmt: skip
    *limits, account_scope = known or (command.scope,)
    if limits == [command.limit_nano, command.alert_nano]:
        return Reply(Result.CHANGED)
    db.change(
        "INSERT INTO budget (scope, period, limit_nano, alert_nano) VALUES (?, ?, ?, ?) ON CONFLICT (scope, period)"
        " DO UPDATE SET limit_nano = excluded.limit_nano, alert_nano = excluded.alert_nano",
        command.scope, command.period, command.limit_nano, command.alert_nano,
    )  # fmt: skip
    account = account_id(account_scope, command.period, db.now_ms)
    db.change("INSERT INTO account (id, kind) VALUES (?, 'budget') ON CONFLICT DO NOTHING", account)
    db.change(
        "UPDATE account SET wanted_nano = ?, alert_nano = ?, alerted_at_ms = NULL,"
        " limit_nano = CASE WHEN posted_nano + reserved_nano > ? THEN posted_nano + reserved_nano ELSE ? END WHERE id = ?",
        command.limit_nano, command.alert_nano, command.limit_nano, command.limit_nano, account,
    )  # fmt: skip
    note(db, command.by, "set_budget", asdict(command))
    return Reply(Result.CHANGED if known else Result.CREATED)


def drop_budget(db: Database, command: DropBudget) -> Reply:
    """See `DropBudget`."""
    dropped = db.one(
        "DELETE FROM budget WHERE scope = ? AND period = ? RETURNING coalesce(account_scope, scope)",
        command.scope, command.period,
    )  # fmt: skip
    if dropped is None:
        return Reply(Result.NO_SUCH_BUDGET)
    account = account_id(dropped[0], command.period, db.now_ms)
    db.change("UPDATE account SET limit_nano = NULL, wanted_nano = NULL, alert_nano = NULL WHERE id = ?", account)
    note(db, command.by, "drop_budget", asdict(command))
    return Reply(Result.CHANGED)


def add_price(db: Database, command: AddPrice) -> Reply:
    """See `AddPrice`."""
    price = command.price
    content = (price.unit_nano, price.batch_unit_nano, price.text_token_nano, price.output_token_nano, price.basis)
    added = db.change(
        "INSERT INTO price (model, version, active_from_ms, unit_nano, batch_unit_nano, text_token_nano, output_token_nano,"
        " basis) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        price.model, price.version, db.now_ms, *content,
    )  # fmt: skip
    if added:
        return Reply(Result.CREATED)
    stored = db.one(
        "SELECT unit_nano, batch_unit_nano, text_token_nano, output_token_nano, basis FROM price"
        " WHERE model = ? AND version = ?",
        price.model, price.version,
    )  # fmt: skip
    return Reply(Result.EXISTS if stored == content else Result.EXISTS_WITH_DIFFERENT_CONTENT)


def sample(db: Database, command: Sample) -> Reply:
    """See `Sample`."""
    added = db.change(
        "INSERT INTO sample (replica_id, epoch, at_ms, model, state, rent_nano_per_hour, slots_held, in_flight,"
        " prompt_tokens, output_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        command.replica_id, command.epoch, command.at_ms, command.model, command.state, command.rent_nano_per_hour,
        command.slots_held, command.in_flight, command.prompt_tokens, command.output_tokens,
    )  # fmt: skip
    return Reply(Result.CREATED if added else Result.EXISTS)
