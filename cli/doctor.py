"""`vlmfleet doctor`: look at a running fleet from outside, and say what is wrong and what to do."""

import importlib.metadata
import os
import time
from dataclasses import asdict, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from prometheus_client.parser import text_string_to_metric_families

from accounting.budget import is_shared
from accounting.store import StoreError
from cli.diagnosis import Fleet, Ledger, Ray, Silent, diagnosed
from cli.failed import Failed
from cli.ledger import reading
from cli.options import Key, Url
from cli.server import Server
from cli.status import asked
from cli.table import sentence, show, text
from deployments.launch import private_ray, state_folder

PATIENCE_S = 30.0
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
APPLICATIONS = "/api/serve/applications/"
# Samples come every ten seconds: these are the newest, and what lies in the future.
SAMPLES_MS = 60_000
FUTURE_MS = 3_600_000

COLUMNS = [text("check"), text("level"), sentence("told", "what is seen, and what to do")]

Values = dict[str, list[tuple[dict[str, str], float]]]


def doctor(
    url: Url = None,
    key: Key = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="VLMFLEET_STORE",
            help="A SQLite file or a postgresql:// URL, to verify. Default: .vlmfleet/ledger.db if it is there.",
        ),
    ] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(envvar="RAY_DASHBOARD_ADDRESS", help="Ray's dashboard, as http://127.0.0.1:8265; else not asked."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check a running fleet: versions, flags, who answers, clocks, the ledger's invariants, prices. Status 1 for a fault."""
    fleet = _fleet(Server(url, key))
    ray = _private_ray() if dashboard is None and url is None else _ray(dashboard)
    findings = diagnosed(fleet, ray, _ledger(ledger), _flag())
    rows = [asdict(finding) for finding in findings]
    show(COLUMNS, map(_told, rows), {"findings": rows}, as_json=as_json)
    raise typer.Exit(int(any(finding.level == "fault" for finding in findings)))


def _told(finding: dict[str, Any]) -> dict[str, Any]:
    """With its advice, if any, in a line below what was seen."""
    advice = f"\n→ {finding['advice']}" if finding["advice"] else ""
    return finding | {"told": finding["detail"] + advice}


def _fleet(server: Server) -> Fleet:
    try:
        health = server.look("/healthz")
        seen = Fleet(health.is_success, server.look("/readyz").is_success, skew_s=_skew_s(health))
    except Failed:
        return Fleet(answers=False)
    if not seen.ready:
        return seen
    try:
        values = _values(server.read("/metrics"))
        models = server.get("/v1/models")["data"]
    except Failed as error:
        return replace(seen, key_refused=str(error))
    return replace(
        seen,
        models=tuple(model["id"] for model in models),
        replicas_ready=_by_model(values, "vlmfleet_replicas", category="ready"),
        starts_failed=_by_model(values, "vlmfleet_hour_starts", outcome="failed"),
        mismatch_ratios={labels["model"]: ratio for labels, ratio in values.get("vlmfleet_witness_mismatch_ratio", [])},
        holds_open=int(sum(value for _, value in values.get("vlmfleet_holds_open", []))),
        undecided_s=_undecided_s(server, seen.skew_s or 0.0),
    )


def _undecided_s(server: Server, skew_s: float) -> dict[str, float] | None:
    """By model; None if no autoscaler answers."""
    response = server.look("/v1/admin/scaling")
    if not response.is_success:
        return None
    return {row["model"]: max(0.0, time.time() + skew_s - row["at"]) for row in response.json()["data"]}


def _skew_s(response: httpx.Response) -> float | None:
    """The server's clock less ours, to the second that the header tells."""
    told = response.headers.get("date")
    return None if told is None else parsedate_to_datetime(told).timestamp() + 0.5 - time.time()


def _values(exposition: str) -> Values:
    values: Values = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            values.setdefault(sample.name, []).append((sample.labels, sample.value))
    return values


def _by_model(values: Values, name: str, **wanted: str) -> dict[str, int]:
    return {labels["model"]: int(value) for labels, value in values.get(name, []) if wanted.items() <= labels.items()}


def _private_ray() -> Ray | Silent | None:
    """That of this machine's own fleet, which has a token and no dashboard; None if none runs."""
    found = private_ray(state_folder())
    if found is None:
        return None
    try:
        told = asked(*found)
    except Failed as error:
        return Silent(str(error), "make down, make up")
    version = importlib.metadata.version("ray")
    return Ray(version, version, {row["name"]: row["status"] for row in told if "/" not in row["name"]}, proxies={})


def _ray(dashboard: str | None) -> Ray | Silent | None:
    """None if no dashboard is named."""
    if dashboard is None:
        return None
    try:
        version, serve = _asked(dashboard, "/api/version"), _asked(dashboard, APPLICATIONS)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return Silent(
            "its dashboard does not answer", "forward its port 8265; set RAY_AUTH_TOKEN where there is a token"
        )
    return Ray(
        version["ray_version"],
        importlib.metadata.version("ray"),
        {name: details["status"] for name, details in serve["applications"].items()},
        {details["node_ip"]: details["status"] for details in serve["proxies"].values()},
        asks_for_token=not httpx.get(dashboard.rstrip("/") + APPLICATIONS, timeout=PATIENCE_S).is_success,
    )


def _asked(dashboard: str, path: str) -> Any:
    token = os.environ.get("RAY_AUTH_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx.get(dashboard.rstrip("/") + path, headers=headers, timeout=PATIENCE_S)
    return response.raise_for_status().json()


def _ledger(where: str | None) -> Ledger | Silent | None:
    """None if there is none to look at."""
    file = state_folder() / "ledger.db"
    if where is None and not Path(file).exists():
        return None
    try:
        return _read(where or str(file))
    except StoreError as error:
        return Silent(f"the store cannot be read: {error}", "see whether its path or URL is right, and the store runs")


def _read(where: str) -> Ledger:
    """Raises `StoreError`."""
    with reading(where) as store:
        now_ms = time.time_ns() // 1_000_000
        newest_ms = max((sample.at_ms for sample in store.samples(now_ms - SAMPLES_MS, now_ms + FUTURE_MS)), default=0)
        return Ledger(
            tuple(f"{fault.check}: {fault.detail}" for fault in store.verify()),
            frozenset(price.model for price in store.prices()),
            max(0, newest_ms - now_ms) / 1000,
            tuple(state.budget.scope for state in store.budgets() if is_shared(state.budget.scope)),
        )


def _flag() -> str | None:
    """As the launcher of this machine's own fleet has it."""
    try:
        pid = (state_folder() / "pid").read_text().strip()
        variables = Path(f"/proc/{int(pid)}/environ").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return os.environ.get(HAPROXY)
    return next((each.partition(b"=")[2].decode() for each in variables if each.startswith(HAPROXY.encode())), "1")
