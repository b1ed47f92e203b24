"""`vlmfleet doctor` on a real gateway with a real ledger, and each of its judgements."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import ray

from accounting.command import Sample
from cli.diagnosis import Finding, Fleet, Ledger, Ray, diagnosed
from deployments.gateway.admin.scaling import nobody
from tests.cli.conftest import Fleet as Running
from tests.cli.conftest import Vlmfleet
from tests.gateway.admin.test_scaling import decided, explained
from tests.gateway.house import CARD

MODEL = CARD.served_name
WELL = Fleet(
    answers=True,
    ready=True,
    skew_s=0.1,
    models=(MODEL,),
    replicas_ready={MODEL: 1},
    holds_open=3,
    undecided_s={MODEL: 1.0},
)
RAY = Ray("2.60.0", "2.60.0", {"gateway": "RUNNING"}, {"10.0.0.1": "HEALTHY"})
LEDGER = Ledger((), frozenset({MODEL}))


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_a_fleet_that_is_well_has_no_fault():
    """Nothing is advised either."""
    findings = diagnosed(WELL, RAY, LEDGER, "1")
    assert {finding.level for finding in findings} == {"ok"}
    assert not any(finding.advice for finding in findings)


@pytest.mark.parametrize(
    ("seen", "check", "level"),
    [
        (Fleet(answers=False), "gateway", "fault"),
        (replace(WELL, ready=False), "ready", "fault"),
        (replace(WELL, skew_s=-9.0), "clock", "warning"),
        (replace(WELL, skew_s=None), "clock", "unknown"),
        (replace(WELL, models=()), "models", "fault"),
        (replace(WELL, replicas_ready={}), f"model {MODEL}", "warning"),
        (replace(WELL, starts_failed={MODEL: 3}), f"model {MODEL}", "fault"),
        (replace(WELL, holds_open=501), "holds", "warning"),
        (replace(WELL, mismatch_ratios={MODEL: 0.5}), f"witness {MODEL}", "warning"),
        (replace(WELL, undecided_s=None), "autoscaler", "fault"),
        (replace(WELL, undecided_s={MODEL: 31.0}), "autoscaler", "fault"),
        (replace(WELL, undecided_s={}), "autoscaler", "unknown"),
    ],
)
def test_what_is_wrong_with_a_fleet_is_found(seen: Fleet, check: str, level: str):
    """And comes with something to do, unless it is only unknown."""
    findings = {finding.check: finding for finding in diagnosed(seen, RAY, LEDGER, "1")}
    assert findings[check].level == level
    assert findings[check].advice or level == "unknown"


@pytest.mark.parametrize(
    ("seen", "check", "level"),
    [
        (replace(RAY, version="2.57.1"), "ray", "fault"),
        (replace(RAY, version="2.61.0"), "ray", "warning"),
        (replace(RAY, applications={"gateway": "DEPLOY_FAILED"}), "application gateway", "fault"),
        (replace(RAY, proxies={"10.0.0.1": "UNHEALTHY"}), "proxy 10.0.0.1", "warning"),
        (replace(RAY, asks_for_token=False), "ray token", "warning"),
        (None, "ray", "unknown"),
    ],
)
def test_what_is_wrong_with_ray_is_found(seen: Ray | None, check: str, level: str):
    assert levels(diagnosed(WELL, seen, LEDGER, "1"))[check] == level


@pytest.mark.parametrize(
    ("seen", "check", "level"),
    [
        (replace(LEDGER, faults=("P1: a sum is not zero",)), "ledger", "fault"),
        (replace(LEDGER, priced=frozenset()), f"price {MODEL}", "fault"),
        (replace(LEDGER, sampled_ahead_s=5.0), "clock of engines", "warning"),
        (replace(LEDGER, shared_budgets=("project:default",)), "budget project:default", "warning"),
        (None, "ledger", "unknown"),
    ],
)
def test_what_is_wrong_with_the_ledger_is_found(seen: Ledger | None, check: str, level: str):
    assert levels(diagnosed(WELL, RAY, seen, "1"))[check] == level


@pytest.mark.parametrize(("flag", "level"), [("1", "ok"), ("0", "warning"), (None, "unknown")])
def test_haproxy_is_asked_for(flag: str | None, level: str):
    assert levels(diagnosed(WELL, RAY, LEDGER, flag))["haproxy"] == level


def asked(vlmfleet: Vlmfleet, fleet: Running, *more: str) -> tuple[int, dict[str, str]]:
    ran = vlmfleet("doctor", "--json", "--url", fleet.url, "--key", fleet.house.admin_key, *more)
    return ran.status, {finding["check"]: finding["level"] for finding in ran.json["findings"]}


def test_a_running_fleet_is_examined(vlmfleet: Vlmfleet, fleet: Running):
    """Gateway, models and the store itself; a model without a replica is a warning, which is no failure."""
    status, found = asked(vlmfleet, fleet, "--ledger", str(fleet.house.file))
    assert status == 0
    assert found["ready"] == found["ledger"] == "ok"
    assert found[f"model {MODEL}"] == "warning"


def test_a_fault_is_the_exit_status(vlmfleet: Vlmfleet, fleet: Running):
    """Three starts that failed within the hour."""
    house = fleet.house
    begun_ms = house.clock.ms = house.clock.ms + 3_600_000

    def life(epoch: int) -> tuple[Sample, Sample]:
        at_ms = begun_ms + 30_000 + 20_000 * epoch
        loading = Sample(
            replica_id="r",
            epoch=f"e{epoch}",
            model=MODEL,
            at_ms=at_ms,
            state="loading",
            rent_nano_per_hour=1,
            slots_held=0,
            in_flight=None,
            prompt_tokens=None,
            output_tokens=None,
        )
        return loading, replace(loading, at_ms=at_ms + 10_000, state="ended")

    fleet.do(house.do(*(sample for epoch in range(3) for sample in life(epoch))))
    house.clock.ms += 600_000
    status, found = asked(vlmfleet, fleet)
    assert (status, found[f"model {MODEL}"]) == (1, "fault")


@pytest.mark.parametrize("explain", [nobody])
def test_a_fleet_for_which_nobody_decides_is_not_well(vlmfleet: Vlmfleet, fleet: Running):
    """Although it answers."""
    status, found = asked(vlmfleet, fleet)
    assert (status, found["gateway"], found["autoscaler"]) == (1, "ok", "fault")


@pytest.mark.parametrize("explain", [explained(decided())])
def test_a_fleet_whose_last_decision_is_old_is_not_well(vlmfleet: Vlmfleet, fleet: Running):
    """It is of 1970."""
    status, found = asked(vlmfleet, fleet)
    assert (status, found["autoscaler"]) == (1, "fault")


def test_where_nothing_answers_that_is_the_fault(vlmfleet: Vlmfleet):
    ran = vlmfleet("doctor", "--url", "http://127.0.0.1:9", "--key", "vlm_x")
    assert ran.status == 1
    assert "nothing answers" in ran.out


@pytest.fixture
def dashboard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What Ray's dashboard answers, where one runs: its two pages, as Ray 2.60 has them, with a token and without."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the-token")
    pages = {
        "/api/version": {"version": "4", "ray_version": ray.__version__, "ray_commit": ""},
        "/api/serve/applications/": {
            "applications": {"gateway": {"status": "DEPLOY_FAILED"}},
            "proxies": {"node": {"node_ip": "10.0.0.1", "status": "HEALTHY"}},
        },
    }

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(pages[self.path]).encode()
            known = self.headers["authorization"] == "Bearer the-token" or self.server.open
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Pages) as server:
        server.open = request.param
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("dashboard", "token"), [(False, "ok"), (True, "warning")], indirect=["dashboard"])
def test_rays_dashboard_is_asked(vlmfleet: Vlmfleet, fleet: Running, dashboard: str, token: str):
    """An application that failed is a fault. A dashboard that tells everybody belongs to a Ray without a token."""
    status, found = asked(vlmfleet, fleet, "--dashboard", dashboard)
    assert (status, found["ray"], found["application gateway"], found["ray token"]) == (1, "ok", "fault", token)


def test_a_silent_dashboard_hides_no_other_check(vlmfleet: Vlmfleet, fleet: Running):
    status, found = asked(vlmfleet, fleet, "--dashboard", "http://127.0.0.1:9")
    assert (status, found["ray"]) == (1, "fault")
    assert found["ready"] == found["holds"] == "ok"


def test_a_store_that_cannot_be_read_hides_no_other_check(vlmfleet: Vlmfleet, fleet: Running, tmp_path: Path):
    status, found = asked(vlmfleet, fleet, "--ledger", str(tmp_path / "nowhere" / "ledger.db"))
    assert (status, found["ledger"]) == (1, "fault")
    assert found["ready"] == found["holds"] == "ok"


def test_a_refused_key_hides_no_other_check(vlmfleet: Vlmfleet, fleet: Running):
    ran = vlmfleet("doctor", "--json", "--url", fleet.url, "--key", "vlm_x", "--ledger", str(fleet.house.file))
    levels = {finding["check"]: finding["level"] for finding in ran.json["findings"]}
    assert (ran.status, levels["key"]) == (1, "fault")
    assert levels["ready"] == levels["ledger"] == "ok"
