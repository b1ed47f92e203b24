"""What is wrong with a fleet, from what was seen of it, and what to do. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

CLOCK_SKEW_MAX_S = 2.0
# Serve's drain of nodes and HAProxy came with it.
RAY_MIN = (2, 60, 0)
HOLDS_OPEN_MANY = 500
MISMATCH_MAX = 0.05
STARTS_FAILED_MANY = 3
# Decisions come once a second; without any for so long, Serve's own rule stands in (deployments/scaling/policy.py).
UNDECIDED_MAX_S = 30.0
RUNNING = "RUNNING"
HEALTHY = "HEALTHY"

Level = Literal["ok", "warning", "fault", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` is empty where nothing is to be done."""

    check: str
    level: Level
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the gateway and its `/metrics` say. `skew_s`: its clock less ours, None if it does not tell. Counts by model.

    `undecided_s`: since the autoscaler last decided about each model, None if it does not answer.
    """

    answers: bool
    ready: bool = False
    key_refused: str = ""  # why, in the gateway's words
    skew_s: float | None = None
    models: tuple[str, ...] = ()
    replicas_ready: dict[str, int] = field(default_factory=dict)
    starts_failed: dict[str, int] = field(default_factory=dict)
    mismatch_ratios: dict[str, float] = field(default_factory=dict)
    holds_open: int = 0
    undecided_s: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Ray:
    """What Ray's dashboard says. `applications` and `proxies` by name, each with its status. `asks_for_token`: it tells nobody
    without one.
    """

    version: str
    version_here: str
    applications: dict[str, str]
    proxies: dict[str, str]
    asks_for_token: bool = True


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store says. `sampled_ahead_s`: how far in our future an engine's newest sample lies. `shared_budgets`: scopes of
    projects that do not say of which organisation.
    """

    faults: tuple[str, ...]
    priced: frozenset[str]
    sampled_ahead_s: float = 0.0
    shared_budgets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Silent:
    """What was asked and did not tell. `detail` says what happened, `advice` what to do."""

    detail: str
    advice: str


def diagnosed(
    fleet: Fleet, ray: Ray | Silent | None, ledger: Ledger | Silent | None, haproxy: str | None
) -> list[Finding]:
    """Every check once. What nobody asked for is None and `unknown`, which is no fault. `haproxy`: RAY_SERVE_ENABLE_HA_PROXY."""
    return [
        *_gateway(fleet),
        *_models(fleet),
        *_decisions(fleet),
        *_money(fleet),
        *_ray(ray),
        *_ledger(ledger, fleet),
        _haproxy(haproxy),
    ]


def _gateway(fleet: Fleet) -> Iterator[Finding]:
    if not fleet.answers:
        yield Finding("gateway", "fault", "nothing answers", "start it (vlmfleet up), or name another with --url")
        return
    yield Finding("gateway", "ok", "answers")
    if fleet.ready:
        yield Finding("ready", "ok", "keys are loaded")
    else:
        yield Finding(
            "ready", "fault", "no keys are loaded", "see whether the ledger's writer runs: its log, its store"
        )
    if fleet.key_refused:
        yield Finding(
            "key", "fault", fleet.key_refused, "give one with the scope `manage`: --key or VLMFLEET_ADMIN_KEY"
        )
    if fleet.skew_s is None:
        yield Finding("clock", "unknown", "the gateway does not tell its time")
    elif abs(fleet.skew_s) > CLOCK_SKEW_MAX_S:
        yield Finding(
            "clock", "warning", f"the gateway's clock differs by {fleet.skew_s:+.1f} s", "run an NTP client on both"
        )
    else:
        yield Finding("clock", "ok", f"within {CLOCK_SKEW_MAX_S:.0f} s")


def _models(fleet: Fleet) -> Iterator[Finding]:
    if fleet.answers and not fleet.models and not fleet.key_refused:
        yield Finding("models", "fault", "none is served to this key", "look at `models` in the Serve config")
    for model in fleet.models:
        ready, failed = fleet.replicas_ready.get(model, 0), fleet.starts_failed.get(model, 0)
        if failed >= STARTS_FAILED_MANY:
            yield Finding(
                f"model {model}",
                "fault",
                f"{failed} starts failed in an hour",
                "read the replica's log: its last words",
            )
        elif ready:
            yield Finding(f"model {model}", "ok", f"{ready} replicas ready")
        else:
            yield Finding(
                f"model {model}",
                "warning",
                "no replica is ready",
                "right if it scales to zero; else see `vlmfleet status` and the replica's log",
            )


def _decisions(fleet: Fleet) -> Iterator[Finding]:
    if not fleet.ready or fleet.key_refused:
        return
    advice = "look at the application `scaling` in `serve status`; docs/operations.md, VlmfleetNobodyDecides"
    if fleet.undecided_s is None:
        yield Finding("autoscaler", "fault", "nobody decides how many replicas run", advice)
        return
    ages_s = {model: fleet.undecided_s[model] for model in fleet.models if model in fleet.undecided_s}
    late = {model: age_s for model, age_s in ages_s.items() if age_s > UNDECIDED_MAX_S}
    for model, age_s in late.items():
        yield Finding("autoscaler", "fault", f"no decision about {model} for {age_s:.0f} s", advice)
    if not ages_s:
        yield Finding("autoscaler", "unknown", "no decision yet", "right just after a start, or without `scaling`")
    elif not late:
        yield Finding("autoscaler", "ok", f"decides, {max(ages_s.values()):.0f} s ago at most")


def _money(fleet: Fleet) -> Iterator[Finding]:
    if not fleet.answers or fleet.key_refused:
        return
    if fleet.holds_open > HOLDS_OPEN_MANY:
        yield Finding(
            "holds",
            "warning",
            f"{fleet.holds_open} are open",
            "if it grows: does the ledger answer? is its sweeper alive?",
        )
    else:
        yield Finding("holds", "ok", f"{fleet.holds_open} are open")
    for model, ratio in fleet.mismatch_ratios.items():
        if ratio > MISMATCH_MAX:
            yield Finding(
                f"witness {model}",
                "warning",
                f"engine and ledger differ by {ratio:.0%} of the tokens of an hour",
                "look for requests past the gateway, then for cancelled ones that ran on",
            )


def _ray(ray: Ray | Silent | None) -> Iterator[Finding]:
    match ray:
        case None:
            yield Finding("ray", "unknown", "not looked at", "name its dashboard with --dashboard")
        case Silent():
            yield Finding("ray", "fault", ray.detail, ray.advice)
        case Ray():
            yield from _told_by_ray(ray)


def _told_by_ray(ray: Ray) -> Iterator[Finding]:
    if _numbers(ray.version) < RAY_MIN:
        wanted = ".".join(map(str, RAY_MIN))
        yield Finding("ray", "fault", f"version {ray.version}", f"upgrade to {wanted}: before, draining loses requests")
    elif ray.version != ray.version_here:
        yield Finding(
            "ray", "warning", f"{ray.version} there, {ray.version_here} here", "install the same for commands"
        )
    else:
        yield Finding("ray", "ok", f"version {ray.version}")
    if ray.asks_for_token:
        yield Finding("ray token", "ok", "it asks for one")
    else:
        yield Finding(
            "ray token",
            "warning",
            "whoever reaches Ray's ports may run code on it",
            "set RAY_AUTH_MODE=token before Ray starts, on all nodes: docs/operations.md",
        )
    for name, status in ray.applications.items():
        if status != RUNNING:
            yield Finding(
                f"application {name}", "fault", status.lower(), "its status has the message: docs/operations.md"
            )
    for name, status in ray.proxies.items():
        if status != HEALTHY:
            yield Finding(f"proxy {name}", "warning", status.lower(), "if it stays so: the log of Serve's controller")


def _ledger(ledger: Ledger | Silent | None, fleet: Fleet) -> Iterator[Finding]:
    match ledger:
        case None:
            yield Finding("ledger", "unknown", "not looked at", "name the store with --ledger or VLMFLEET_STORE")
        case Silent():
            yield Finding("ledger", "fault", ledger.detail, ledger.advice)
        case Ledger():
            yield from _told_by_ledger(ledger, fleet)


def _told_by_ledger(ledger: Ledger, fleet: Fleet) -> Iterator[Finding]:
    if ledger.faults:
        for fault in ledger.faults:
            yield Finding(
                "ledger", "fault", f"an invariant does not hold: {fault}", "keep a copy, and see docs/operations.md"
            )
    else:
        yield Finding("ledger", "ok", "every invariant holds")
    for model in fleet.models:
        if model not in ledger.priced:
            yield Finding(
                f"price {model}", "fault", "the ledger has no price of it", "restart the ledger with this model's card"
            )
    if ledger.sampled_ahead_s > CLOCK_SKEW_MAX_S:
        yield Finding(
            "clock of engines", "warning", f"ahead by {ledger.sampled_ahead_s:.1f} s", "run an NTP client on all nodes"
        )
    for scope in ledger.shared_budgets:
        yield Finding(
            f"budget {scope}",
            "warning",
            "bounds the projects of that name in every organisation",
            "say whose it is, as `vlmfleet budgets list` tells",
        )


def _haproxy(flag: str | None) -> Finding:
    name = "RAY_SERVE_ENABLE_HA_PROXY"
    if flag == "1":
        return Finding("haproxy", "ok", f"{name}=1")
    if flag is None:
        return Finding("haproxy", "unknown", f"{name} cannot be seen from here", "it must be 1 on head and all workers")
    return Finding("haproxy", "warning", f"{name}={flag}", "set it to 1 before Ray starts: Serve's own proxy is slower")


def _numbers(version: str) -> tuple[int, ...]:
    """2.60.0rc1 is 2.60.0."""
    digits = ["".join(c for c in part.partition("rc")[0] if c.isdigit()) for part in version.split(".")[:3]]
    return tuple(int(part or 0) for part in digits)
