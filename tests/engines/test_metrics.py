"""What a replica tells of its engine, from what real engines say of themselves."""

from dataclasses import dataclass

import pytest

from deployments.engines.metrics import COUNTERS, GAUGES, TABLE, EngineMetrics
from deployments.metric import Instruments, Metric

VLLM = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
# TYPE vllm:prefix_cache_queries counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} %s
"""


class Recorded(Instruments):
    """Gauges as they were set last, counters summed, histograms as lists."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.gauges: dict[str, float] = {}
        self.counts: dict[tuple[str, ...], int] = {}
        self.seconds: dict[str, list[float]] = {}

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        super().set(metric, value, *labels)
        self.gauges[metric.name] = value

    def count(self, metric: Metric, amount: int, *labels: str) -> None:
        super().count(metric, amount, *labels)
        self.counts[metric.name, *labels] = self.counts.get((metric.name, *labels), 0) + amount

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        super().observe(metric, seconds, *labels)
        self.seconds.setdefault(metric.name, []).append(seconds)


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def metrics(recorded: Recorded) -> EngineMetrics:
    return EngineMetrics("m", recorded)


def test_gauges_of_several_cores_are_summed(metrics: EngineMetrics, recorded: Recorded):
    metrics.read(VLLM % 100)
    assert recorded.gauges["vlmfleet_engine_running_requests"] == 3
    assert recorded.gauges["vlmfleet_engine_kv_usage_ratio"] == 0.25
    assert "vlmfleet_engine_waiting_requests" not in recorded.gauges


def test_a_counter_grows_by_what_has_come(metrics: EngineMetrics, recorded: Recorded):
    for total in (100, 130, 130):
        metrics.read(VLLM % total)
    assert recorded.counts["vlmfleet_engine_prefix_queries", "m"] == 130


def test_a_new_server_counts_from_zero(metrics: EngineMetrics, recorded: Recorded):
    """What the one before had counted stays."""
    metrics.changed("e1", ready=True)
    metrics.read(VLLM % 100)
    metrics.changed("e2", ready=True)
    metrics.read(VLLM % 30)
    assert recorded.counts["vlmfleet_engine_prefix_queries", "m"] == 130


@dataclass
class Starting:
    url: str = "http://127.0.0.1:1"
    ready: bool = False


async def test_readiness_is_said_again_at_every_look(metrics: EngineMetrics, recorded: Recorded):
    """Ray forgets a gauge that is set only when it changes."""
    metrics.changed("e1", ready=False)
    recorded.gauges.clear()
    await metrics.look(Starting(), "token")
    assert recorded.gauges == {"vlmfleet_engine_ready": 0}


def test_what_is_no_exposition_is_left_out(metrics: EngineMetrics, recorded: Recorded):
    metrics.read("<html>no such page</html>")
    assert recorded.gauges == {}


def test_a_start_that_becomes_ready_is_one_cold_start(metrics: EngineMetrics, recorded: Recorded):
    """Being ready again without a new server is none."""
    for ready in (False, True, True):
        metrics.changed("e1", ready=ready)
    assert recorded.counts == {("vlmfleet_engine_starts", "m", "ready"): 1}
    assert len(recorded.seconds["vlmfleet_engine_start_seconds"]) == 1
    assert recorded.gauges["vlmfleet_engine_ready"] == 1


def test_a_server_that_gives_way_before_it_was_ready_has_failed(metrics: EngineMetrics, recorded: Recorded):
    metrics.changed("e1", ready=False)
    metrics.changed("e2", ready=False)
    metrics.changed("e2", ready=True)
    assert recorded.counts == {
        ("vlmfleet_engine_starts", "m", "failed"): 1,
        ("vlmfleet_engine_starts", "m", "ready"): 1,
    }


def test_every_name_is_of_an_engine_that_can_be_started():
    """vLLM, LMDeploy, our own server on Transformers."""
    names = [name for table in (GAUGES, COUNTERS) for names in table.values() for name in names]
    assert {name.partition(":")[0] for name in names} == {"vllm", "lmdeploy", "transformers"}
