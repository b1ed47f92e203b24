"""Budgets: a cap on what a scope may spend in a period. Each period has an account of its own, so nothing is ever reset."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Period(StrEnum):
    """Periods are in UTC; the period of the admission pays."""

    DAY = "day"
    MONTH = "month"
    LIFETIME = "lifetime"


class ScopeKind(StrEnum):
    """Who is bounded. A team is a project."""

    KEY = "key"
    PROJECT = "project"
    ORGANISATION = "org"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`scope` is `key:<id>`, `project:<organisation>/<project>` or `org:<id>`. Reaching `alert_nano` is told, and stops
    nothing.
    """

    scope: str
    period: Period
    limit_nano: int
    alert_nano: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget with the very account that enforces it. `limit_nano` is the enforced one: at first the sum of what is
    posted and reserved, where the wanted limit is below that.
    """

    budget: Budget
    account: str
    limit_nano: int
    posted_nano: int
    reserved_nano: int
    alerted_at_ms: int | None

    @property
    def remaining_nano(self) -> int:
        return self.limit_nano - self.posted_nano - self.reserved_nano


class UnknownScope(ValueError):
    """Not a scope. The message says what one looks like."""


def parse_scope(scope: str) -> tuple[ScopeKind, str]:
    """`key:key_abc` -> (KEY, "key_abc"). Raises `UnknownScope`."""
    kind, _, name = scope.partition(":")
    if kind not in set(ScopeKind) or not name:
        raise UnknownScope("a scope is key:<id>, project:<organisation>/<project> or org:<id>")
    return ScopeKind(kind), name


def is_shared(scope: str) -> bool:
    """Whether this is `project:<project>`, which bounds the projects of that name in every organisation. There are budgets
    of such a scope from before a project's said whose it is; no new one is made.
    """
    kind, name = parse_scope(scope)
    organisation, slash, project = name.partition("/")
    return kind is ScopeKind.PROJECT and not (organisation and slash and project)


def scopes_of(org_id: str, project_id: str, key_id: str) -> tuple[str, ...]:
    """Every scope a request belongs to, narrowest first. `key_id` is the key's root, so that a rotated key goes on paying
    from the same budgets.
    """
    return f"key:{key_id}", f"project:{org_id}/{project_id}", f"project:{project_id}", f"org:{org_id}"


def account_id(scope: str, period: Period, at_ms: int) -> str:
    """`bud:key:key_abc:2026-11`: the account of the period that contains `at_ms`."""
    return f"bud:{scope}:{period_label(period, at_ms)}"


def period_label(period: Period, at_ms: int) -> str:
    """`2026-11-21`, `2026-11` or `lifetime`."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    match period:
        case Period.DAY:
            return f"{at:%Y-%m-%d}"
        case Period.MONTH:
            return f"{at:%Y-%m}"
        case Period.LIFETIME:
            return "lifetime"
