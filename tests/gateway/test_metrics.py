"""What a gateway records of its requests, read back from Ray's own instruments."""

import pytest

from accounting.command import Outcome
from deployments.gateway.bill import Bill, Usage
from deployments.gateway.errors import BadRequest, Overloaded
from deployments.gateway.metrics import TABLE, ServeMetrics
from deployments.metric import Instruments, Metric
from tests.gateway.house import HOLD, PRICE, STREAM, WORK, House, question

MODEL = PRICE.model


class Recorded(Instruments):
    """What was handed to Ray. Its instruments have no way to be read in a process without a cluster."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.values: dict[tuple[str, ...], list[float]] = {}

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        super().observe(metric, seconds, *labels)
        self.values.setdefault((metric.name, *labels), []).append(seconds)

    def count(self, metric: Metric, amount: int, *labels: str) -> None:
        super().count(metric, amount, *labels)
        self.values.setdefault((metric.name, *labels), []).append(amount)

    def sum(self, *name_and_labels: str) -> float:
        return sum(self.values.get(name_and_labels, []))


@pytest.fixture
def recorded(house: House, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """The house's gateway records with Ray's instruments."""
    instruments = Recorded()
    metrics = ServeMetrics(instruments)
    for name in ("ended", "refused", "queued", "coalesced"):
        monkeypatch.setattr(house.metrics, name, getattr(metrics, name))
    return instruments


async def test_an_answer_counts_once_with_its_images_and_tokens(house: House, recorded: Recorded):
    """By model and tier; tokens as the engine counted them."""
    await house.ask(question())
    (used,) = house.rows("SELECT vision_tokens, text_tokens, output_tokens FROM attempt")
    assert recorded.sum("vlmfleet_requests", MODEL, "default", "complete") == 1
    assert recorded.sum("vlmfleet_images", MODEL, "default") == 1
    assert recorded.sum("vlmfleet_vision_tokens", MODEL, "default") == used["vision_tokens"]
    assert recorded.sum("vlmfleet_prompt_tokens", MODEL, "default") == used["vision_tokens"] + used["text_tokens"]
    assert recorded.sum("vlmfleet_output_tokens", MODEL, "default") == used["output_tokens"]
    recorded.flush()


@pytest.mark.parametrize(
    ("told", "delimited", "mismatches"),
    [(0, (), 0), (1, (), 1), (-1, (), 1), (1, (MODEL,), 0), (-1, (MODEL,), 1)],
)
async def test_an_engines_own_count_of_an_image_is_held_against_ours(
    house: House, told: int, delimited: tuple[str, ...], mismatches: int
):
    """Some count the delimiters around it, too; less than ours it may never be."""
    recorded = Recorded()
    bill = Bill(house.books, HOLD, PRICE, WORK)
    await bill.durable()
    bill.usage = Usage(60, 3, vision_tokens=bill.work.vision_tokens + told)
    await bill.post(b"{}")
    ServeMetrics(recorded, delimited).ended(bill, 1.0)
    assert recorded.sum("vlmfleet_witness_mismatches", MODEL) == mismatches


async def test_only_a_stream_has_a_time_to_first_token(house: House, recorded: Recorded):
    """A whole answer has no first chunk, so its time would say something else."""
    await house.ask(question())
    assert ("vlmfleet_ttft_seconds", MODEL, "default") not in recorded.values
    await house.ask(question(**STREAM))
    assert len(recorded.values["vlmfleet_ttft_seconds", MODEL, "default"]) == 1
    assert len(recorded.values["vlmfleet_tpot_seconds", MODEL, "default"]) == 1
    assert len(recorded.values["vlmfleet_request_seconds", MODEL, "default"]) == 2


async def test_the_ledgers_lag_is_observed(house: House, recorded: Recorded):
    """From the hold sent to its acknowledgement."""
    await house.ask(question())
    assert len(recorded.values["vlmfleet_hold_ack_seconds",]) == 1


async def test_a_refused_request_counts_by_its_code(house: House, recorded: Recorded):
    """Before a hold there is no bill, so only the error is counted."""
    await house.ask(question(model="no-such-model"))
    assert recorded.sum("vlmfleet_errors", "model_not_found") == 1
    assert not any(name == "vlmfleet_requests" for name, *_ in recorded.values)


@pytest.mark.parametrize(
    ("error", "category"), [(Overloaded(), "overloaded"), (BadRequest("no"), "invalid_request_error")]
)
def test_an_error_without_a_code_counts_by_its_type(error: BadRequest | Overloaded, category: str):
    recorded = Recorded()
    ServeMetrics(recorded).refused(error)
    assert recorded.sum("vlmfleet_errors", category) == 1


async def test_a_failure_of_the_engine_is_an_outcome(house: House, recorded: Recorded):
    """The error that its caller is told counts beside it."""
    house.router.url = "http://127.0.0.1:9"
    await house.ask(question())
    assert recorded.sum("vlmfleet_requests", MODEL, "default", str(Outcome.NO_REPLICA)) == 1
    assert recorded.sum("vlmfleet_errors", "model_warming") == 1


def test_counts_are_handed_on_by_flush():
    """Nothing is counted twice, and nothing by zero, which Ray refuses."""
    recorded, counted = Recorded(), []
    metric = TABLE[0]
    recorded._counters[metric].inc = lambda amount, tags: counted.append((amount, tags))  # type: ignore[method-assign]
    recorded.count(metric, 2, "m", "default", "complete")
    recorded.count(metric, 1, "m", "default", "complete")
    recorded.count(metric, 0, "m", "batch", "complete")
    recorded.flush()
    recorded.flush()
    assert counted == [(3, {"model": "m", "tier": "default", "outcome": "complete"})]
