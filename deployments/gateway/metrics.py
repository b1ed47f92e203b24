"""What a gateway counts, through Ray's Prometheus exporter. Labels are models and outcomes, never keys or URLs."""

from typing import Protocol

from ray.serve import metrics

from accounting.money import NANO_USD
from accounting.store import Snapshot
from deployments.gateway.bill import Bill

SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]


class Metrics(Protocol):
    """Observes requests as they end."""

    def ended(self, bill: Bill) -> None:
        """A request with a bill has ended."""

    def refused(self, status: int) -> None:
        """A request was answered with an error."""

    def queued(self, model: str, waited_s: float, budget_tokens: int) -> None:
        """A request has waited for its turn, which came under this budget of tokens in flight."""

    def coalesced(self, model: str) -> None:
        """A request reads the answer to another one."""


class ServeMetrics:
    """Counts in this process; Ray's agent on the node exports it."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "vlmfleet_requests", "Requests that ended, by model and outcome.", tag_keys=("model", "outcome")
        )
        self._images = metrics.Counter("vlmfleet_images", "Images of these requests.", tag_keys=("model",))
        self._refusals = metrics.Counter(
            "vlmfleet_errors", "Answers that were errors, by status.", tag_keys=("status",)
        )
        self._ttft = metrics.Histogram(
            "vlmfleet_ttft_seconds",
            "Request read to the engine's first chunk.",
            boundaries=SECONDS,
            tag_keys=("model",),
        )
        self._queue_wait = metrics.Histogram(
            "vlmfleet_queue_wait_seconds",
            "How long requests waited for their turn, of those that did.",
            boundaries=SECONDS,
            tag_keys=("model",),
        )
        self._budget = metrics.Gauge(
            "vlmfleet_budget_tokens", "Tokens that may be with the model's engines at once.", tag_keys=("model",)
        )
        self._coalesced = metrics.Counter(
            "vlmfleet_coalesced_requests", "Requests that shared another one's execution.", tag_keys=("model",)
        )
        self._mismatches = metrics.Counter(
            "vlmfleet_witness_mismatches",
            "Answers whose vision tokens, by the engine's count, were not those of our formula.",
            tag_keys=("model",),
        )

    def ended(self, bill: Bill) -> None:
        """See `Metrics.ended`."""
        model, images = bill.price.model, len(bill.work.images)
        self._requests.inc(tags={"model": model, "outcome": str(bill.outcome)})
        if images:  # Ray refuses to count by 0
            self._images.inc(images, tags={"model": model})
        if bill.ttft_s is not None:
            self._ttft.observe(bill.ttft_s, tags={"model": model})
        if bill.usage.vision_tokens is not None and bill.usage.vision_tokens != bill.work.vision_tokens:
            self._mismatches.inc(tags={"model": model})

    def refused(self, status: int) -> None:
        """See `Metrics.refused`."""
        self._refusals.inc(tags={"status": str(status)})

    def queued(self, model: str, waited_s: float, budget_tokens: int) -> None:
        """See `Metrics.queued`."""
        self._queue_wait.observe(waited_s, tags={"model": model})
        self._budget.set(budget_tokens, tags={"model": model})

    def coalesced(self, model: str) -> None:
        """See `Metrics.coalesced`."""
        self._coalesced.inc(tags={"model": model})


def exposition(snapshot: Snapshot, mismatch_ratios: dict[str, float]) -> bytes:
    """Fleet totals from the ledger, in Prometheus' text format; mismatch ratios are by model. Pure."""
    lines = []
    for name, field, scale, help_ in _FLEET_COUNTERS:
        lines += [f"# HELP {name} {help_}", f"# TYPE {name} counter"]
        for total in snapshot.totals:
            value = getattr(total, field) / scale
            lines.append(f'{name}{{model="{total.model}",outcome="{total.outcome}"}} {value:.9g}')
    lines += [
        "# HELP vlmfleet_holds_open Holds that are neither posted nor void.",
        "# TYPE vlmfleet_holds_open gauge",
        f"vlmfleet_holds_open {snapshot.holds_open}",
        "# HELP vlmfleet_reserved_usd Dollars reserved by open holds.",
        "# TYPE vlmfleet_reserved_usd gauge",
        f"vlmfleet_reserved_usd {snapshot.reserved_nano / NANO_USD:.9g}",
        "# HELP vlmfleet_witness_mismatch_ratio Tokens that only one of engine and ledger saw in the last hour.",
        "# TYPE vlmfleet_witness_mismatch_ratio gauge",
        *(
            f'vlmfleet_witness_mismatch_ratio{{model="{model}"}} {ratio:.9g}'
            for model, ratio in mismatch_ratios.items()
        ),
    ]
    return ("\n".join(lines) + "\n").encode()


_FLEET_COUNTERS = (
    ("vlmfleet_fleet_requests_total", "requests", 1, "Requests that ended."),
    ("vlmfleet_fleet_images_total", "images", 1, "Images of these requests."),
    ("vlmfleet_fleet_vision_tokens_total", "vision_tokens", 1, "Vision tokens of these images."),
    ("vlmfleet_fleet_text_tokens_total", "text_tokens", 1, "Prompt tokens that are not vision tokens."),
    ("vlmfleet_fleet_output_tokens_total", "output_tokens", 1, "Tokens that were produced."),
    ("vlmfleet_fleet_revenue_usd_total", "charged_nano", NANO_USD, "Dollars charged."),
)
