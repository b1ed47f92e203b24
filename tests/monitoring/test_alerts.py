"""Every alert, in Prometheus' own test bench: series that raise it, and series that are close and do not."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.missing import needs_program

COMPONENT = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"
RULES: dict[str, Any] = yaml.safe_load((COMPONENT / "prometheusrule.yaml").read_text())["spec"]
RATIOS, *GROUPS = RULES["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
# Of series, in minutes: more than the longest `for` and the widest window together.
LENGTH = 430
MINUTES = {"m": 1, "h": 60}


@dataclass(frozen=True)
class Case:
    """Series by name, each with a promtool expansion: `1+2x3` is 1, 3, 5, 7, a minute apart."""

    raises: dict[str, str]
    does_not: dict[str, str]


def steady(value: float) -> str:
    return f"{value}+0x{LENGTH}"


def rising(by: float) -> str:
    return f"0+{by}x{LENGTH}"


def requests(failed: float, complete: float) -> dict[str, str]:
    """So many each minute."""
    return {
        'ray_vlmfleet_requests_total{model="m",outcome="engine_failed"}': rising(failed),
        'ray_vlmfleet_requests_total{model="m",outcome="complete"}': rising(complete),
        'ray_vlmfleet_requests_total{model="m",outcome="not_admitted"}': rising(1000),
    }


def streams(name: str, le: str, fast: float, tier: str = "default") -> dict[str, str]:
    """Of a hundred each minute, so many are fast."""
    return {
        f'ray_vlmfleet_{name}_seconds_bucket{{model="m",tier="{tier}",le="{le}"}}': rising(fast),
        f'ray_vlmfleet_{name}_seconds_count{{model="m",tier="{tier}"}}': rising(100),
    }


def engine(target: int, healthy: int) -> dict[str, str]:
    labels = '{application="model-m",deployment="Engine-m"}'
    found = {f"ray_serve_autoscaling_target_replicas{labels}": steady(target)}
    return found | ({f"ray_serve_deployment_replica_healthy{labels}": steady(healthy)} if healthy else {})


def spent(idle: float, share: float, revenue: float = 0) -> dict[str, str]:
    """Two gateways tell the same."""
    return {
        f'vlmfleet_hour_{unit}{{model="m",category="{category}",pod="{pod}"}}': steady(value)
        for pod in ("gateway-1", "gateway-2")
        for unit in ("gpu_usd", "gpu_seconds")
        for category, value in (("idle", idle), ("share", share))
    } | {'vlmfleet_hour_revenue_usd{model="m"}': steady(revenue)}


def one(series: str, bad: float, good: float) -> Case:
    return Case({series: steady(bad)}, {series: steady(good)})


def holds(held: float, running: float) -> dict[str, str]:
    return {
        "vlmfleet_holds_open": steady(held),
        'ray_vlmfleet_running_requests{model="m"}': steady(running),
        'ray_vlmfleet_waiting_requests{model="m"}': steady(0),
    }


def acknowledged(le: str) -> dict[str, str]:
    """All holds within `le` seconds."""
    buckets = {each: (100 if float(each) >= float(le) else 0) for each in ("0.01", "0.5", "2.5")}
    return {f'ray_vlmfleet_hold_ack_seconds_bucket{{le="{each}"}}': rising(by) for each, by in buckets.items()} | {
        'ray_vlmfleet_hold_ack_seconds_bucket{le="+Inf"}': rising(100)
    }


def overloaded(refused: float) -> dict[str, str]:
    return {'ray_vlmfleet_errors_total{category="overloaded"}': rising(refused)} | requests(0, 100)


def head(used: float) -> dict[str, str]:
    return {
        'ray_node_mem_used{IsHeadNode="true",ip="a"}': steady(used),
        'ray_node_mem_total{IsHeadNode="true",ip="a"}': steady(100),
    }


def volume(available: float) -> dict[str, str]:
    labels = '{namespace="vlmfleet",persistentvolumeclaim="data-vlmfleet-postgres-0"}'
    return {
        f"kubelet_volume_stats_available_bytes{labels}": steady(available),
        f"kubelet_volume_stats_capacity_bytes{labels}": steady(100),
    }


PENDING = 'kube_pod_status_phase{namespace="vlmfleet",phase="Pending",pod="p"}'
REDIS = 'kube_statefulset_status_replicas_ready{namespace="vlmfleet",statefulset="vlmfleet-redis"}'
CASES = {
    "VlmfleetErrorRatio": Case(requests(10, 90), requests(1, 99)),
    "VlmfleetTtftSlow": Case(
        streams("ttft", "2.5", 80), streams("ttft", "2.5", 97) | streams("ttft", "2.5", 0, "batch")
    ),
    "VlmfleetTpotSlow": Case(streams("tpot", "0.1", 80), streams("tpot", "0.1", 97)),
    "VlmfleetOverloaded": Case(overloaded(100), overloaded(1)),
    "VlmfleetQueueStuck": one('ray_vlmfleet_oldest_wait_seconds{model="m"}', 61, 9),
    "VlmfleetNoReplica": Case(engine(1, 0), engine(0, 0) | {"up": steady(1)}),
    "VlmfleetNobodyDecides": Case(
        {f'ray_vlmfleet_undecided_seconds{{model="m",NodeAddress="{node}"}}': steady(61) for node in "ab"},
        {
            'ray_vlmfleet_undecided_seconds{model="m",NodeAddress="a"}': steady(1),
            'ray_vlmfleet_undecided_seconds{model="m",NodeAddress="b"}': steady(900),
        },
    ),
    "VlmfleetEngineDies": Case(
        {'ray_vlmfleet_engine_deaths_total{model="m",reason="memory"}': rising(0.1)},
        {'ray_vlmfleet_engine_deaths_total{model="m",reason="memory"}': steady(7)},
    ),
    "VlmfleetColdStartsFail": one('vlmfleet_hour_starts{model="m",outcome="failed"}', 3, 2),
    "VlmfleetColdStartSlow": one('vlmfleet_hour_start_seconds_max{model="m"}', 901, 300),
    "VlmfleetKvCacheFull": one('ray_vlmfleet_engine_kv_usage_ratio{model="m"}', 0.95, 0.8),
    "VlmfleetApplicationFailed": one('ray_serve_application_status{application="gateway"}', 2, 5),
    "VlmfleetProxyDown": one('ray_serve_proxy_status{node_ip_address="a"}', 3, 4),
    "VlmfleetPodPending": one(PENDING, 1, 0),
    "VlmfleetRedisDown": one(REDIS, 0, 1),
    "VlmfleetHeadMemory": Case(head(90), head(80)),
    "VlmfleetLedgerDown": one('ray_vlmfleet_ledger_connected{NodeAddress="a"}', 0, 1),
    "VlmfleetLedgerSlow": Case(acknowledged("2.5"), acknowledged("0.01")),
    "VlmfleetLedgerBehind": one("ray_vlmfleet_ledger_unacknowledged", 1001, 900),
    "VlmfleetHoldsGrow": Case(holds(500, 10), holds(500, 400)),
    "VlmfleetWitnessMismatch": one('vlmfleet_witness_mismatch_ratio{model="m"}', 0.06, 0.01),
    "VlmfleetVisionTokensMismatch": Case(
        {'ray_vlmfleet_witness_mismatches_total{model="m"}': rising(1)},
        {'ray_vlmfleet_witness_mismatches_total{model="m"}': steady(7)},
    ),
    "VlmfleetDiskFull": one('ray_node_disk_utilization_percentage{ip="a"}', 86, 80),
    "VlmfleetPostgresDiskFull": Case(volume(10), volume(50)),
    "VlmfleetFleetUnseen": Case({"up": steady(1)}, {"vlmfleet_holds_open": steady(0)}),
    "VlmfleetSpendHigh": Case(spent(idle=50, share=51), spent(idle=50, share=49)),
    "VlmfleetLosingMoney": Case(spent(idle=1, share=1, revenue=1.5), spent(idle=1, share=1, revenue=2.5)),
    "VlmfleetIdleAccelerators": Case(spent(idle=8, share=2), spent(idle=6, share=4)),
}


@pytest.fixture(scope="module")
def there_is_promtool() -> None:
    needs_program("promtool", "prometheus")


def written(file: Path, groups: list[dict[str, Any]]) -> Path:
    """Rules as Prometheus reads them, without what Kubernetes has around them; once a minute, as the trials' series."""
    file.write_text(yaml.safe_dump({"groups": [group | {"interval": "1m"} for group in groups]}))
    return file


def promtool(*words: str | Path) -> str:
    """What it says if it finds a fault, else nothing."""
    ran = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def trial(alert: str, series: dict[str, str], *, raised: bool) -> dict[str, Any]:
    """One of promtool's unit tests: whether the alert fires after a while of these series."""
    fired = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if raised else []
    expression = f'count by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "name": f"{alert} is {'raised' if raised else 'not raised'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{minutes_of(alert)}m", "exp_samples": fired}],
    }


def minutes_of(alert: str) -> int:
    """Until it must be raised: how long its condition must hold, after the widest window of its group has filled."""
    held = ALERTS[alert]["for"]
    (group,) = (group for group in GROUPS if ALERTS[alert] in group["rules"])
    window = 62 if "rate1h" in str(group) or "[1h]" in str(group) else 7
    return window + int(held[:-1]) * MINUTES[held[-1]]


@pytest.mark.usefixtures("there_is_promtool")
def test_prometheus_accepts_the_rules(tmp_path: Path):
    assert promtool("check", "rules", written(tmp_path / "rules.yaml", RULES["groups"])) == ""


def test_every_alert_has_a_case():
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.usefixtures("there_is_promtool")
@pytest.mark.parametrize("group", GROUPS, ids=[group["name"] for group in GROUPS])
def test_alerts_are_raised_when_they_should_and_only_then(group: dict[str, Any], tmp_path: Path):
    """All of a group in one run of promtool, which names those that are wrong."""
    rules = written(tmp_path / "rules.yaml", [RATIOS, group])
    cases = {rule["alert"]: CASES[rule["alert"]] for rule in group["rules"]}
    trials = [trial(name, case.raises, raised=True) for name, case in cases.items()]
    trials += [trial(name, case.does_not, raised=False) for name, case in cases.items()]
    file = tmp_path / "trials.yaml"
    bench = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": trials}
    file.write_text(yaml.safe_dump(bench, width=1000))
    assert promtool("test", "rules", file) == ""


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name: str):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
