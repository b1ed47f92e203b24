from accounting.store import Snapshot, Total
from deployments.gateway.metrics import exposition

COMPLETE = Total(
    "demo", "complete", 3, images=4, vision_tokens=64, text_tokens=90, output_tokens=12, charged_nano=40_000
)
VOID = Total("demo", "engine_failed", 1, images=1, vision_tokens=16, text_tokens=0, output_tokens=0, charged_nano=0)
LINES = exposition(Snapshot((COMPLETE, VOID), holds_open=2, reserved_nano=20_000), {"m": 0.25}).decode().splitlines()


def test_each_total_is_a_counter_by_model_and_outcome():
    """Amounts are in Prometheus' base units: dollars, not nano-dollars."""
    assert 'vlmfleet_fleet_requests_total{model="demo",outcome="complete"} 3' in LINES
    assert 'vlmfleet_fleet_requests_total{model="demo",outcome="engine_failed"} 1' in LINES
    assert 'vlmfleet_fleet_revenue_usd_total{model="demo",outcome="complete"} 4e-05' in LINES


def test_open_holds_are_gauges():
    """What is reserved now rises and falls."""
    assert "vlmfleet_holds_open 2" in LINES
    assert "vlmfleet_reserved_usd 2e-05" in LINES


def test_every_sample_follows_its_help_and_type():
    """Prometheus' text format: HELP, TYPE, samples, and a newline at the end."""
    declared: set[str] = set()
    for line in LINES:
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            assert line.partition(" ")[0].partition("{")[0] in declared
    assert exposition(Snapshot((), 0, 0), {}).endswith(b"\n")


def test_the_witness_is_told_by_model():
    """What only one of engine and ledger saw, as a share."""
    assert 'vlmfleet_witness_mismatch_ratio{model="m"} 0.25' in LINES
