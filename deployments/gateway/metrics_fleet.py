"""The fleet as the ledger has it, in Prometheus' text format: what `/metrics` of every gateway answers. Pure."""

from collections.abc import Iterable, Iterator

from accounting.money import NANO_USD
from accounting.store import Snapshot
from deployments.gateway.metrics_hour import Hour
from deployments.metric import Metric

ENDED = ("model", "outcome")
TOTALS = (
    (Metric("vlmfleet_fleet_requests_total", "counter", ENDED, "Requests that ended."), "requests", 1),
    (Metric("vlmfleet_fleet_images_total", "counter", ENDED, "Images of these requests."), "images", 1),
    (
        Metric("vlmfleet_fleet_vision_tokens_total", "counter", ENDED, "Vision tokens of these images."),
        "vision_tokens",
        1,
    ),
    (
        Metric("vlmfleet_fleet_text_tokens_total", "counter", ENDED, "Prompt tokens that are not vision tokens."),
        "text_tokens",
        1,
    ),
    (Metric("vlmfleet_fleet_output_tokens_total", "counter", ENDED, "Tokens that were produced."), "output_tokens", 1),
    (Metric("vlmfleet_fleet_revenue_usd_total", "counter", ENDED, "Dollars charged."), "charged_nano", NANO_USD),
)
HOLDS_OPEN = Metric("vlmfleet_holds_open", "gauge", (), "Holds that are neither posted nor void.")
RESERVED = Metric("vlmfleet_reserved_usd", "gauge", (), "Dollars reserved by open holds.")
MISMATCH = Metric(
    "vlmfleet_witness_mismatch_ratio", "gauge", ("model",), "Tokens that only one of engine and ledger saw, of an hour."
)
REPLICAS = Metric(
    "vlmfleet_replicas",
    "gauge",
    ("model", "category"),
    "Replicas that were heard of in the last minute: loading, ready.",
)
STARTS = Metric(
    "vlmfleet_hour_starts", "gauge", ("model", "outcome"), "Engine starts of the last hour that ended: ready, failed."
)
START_SECONDS = Metric(
    "vlmfleet_hour_start_seconds_max", "gauge", ("model",), "The longest that an engine loaded in the last hour."
)
GPU_SECONDS = Metric(
    "vlmfleet_hour_gpu_seconds",
    "gauge",
    ("model", "category"),
    "Accelerator seconds of the last hour, by purpose: share (paid requests), waste (others), idle, cold (loading).",
)
GPU_USD = Metric("vlmfleet_hour_gpu_usd", "gauge", ("model", "category"), "What these seconds cost, in dollars.")
REVENUE = Metric("vlmfleet_hour_revenue_usd", "gauge", ("model",), "Dollars charged in the last hour.")
TABLE = (
    *(metric for metric, _, _ in TOTALS), HOLDS_OPEN, RESERVED, MISMATCH, REPLICAS, STARTS, START_SECONDS, GPU_SECONDS,
    GPU_USD, REVENUE,
)  # fmt: skip

# A value of a metric: what its labels are, and how much it is.
Value = tuple[tuple[str, ...], float]


def exposition(snapshot: Snapshot, hour: Hour) -> bytes:
    """Totals since the ledger began, what is open now, and the last hour."""
    lines: list[str] = []
    for metric, field, scale in TOTALS:
        lines += _lines(
            metric, (((total.model, total.outcome), getattr(total, field) / scale) for total in snapshot.totals)
        )
    for metric, values in _now(snapshot, hour):
        lines += _lines(metric, values)
    return ("\n".join(lines) + "\n").encode()


def _now(snapshot: Snapshot, hour: Hour) -> Iterator[tuple[Metric, Iterable[Value]]]:
    yield HOLDS_OPEN, [((), snapshot.holds_open)]
    yield RESERVED, [((), snapshot.reserved_nano / NANO_USD)]
    yield MISMATCH, (((model,), ratio) for model, ratio in hour.mismatch_ratios.items())
    yield REPLICAS, hour.replicas.items()
    yield STARTS, hour.starts.items()
    yield START_SECONDS, (((model,), seconds) for model, seconds in hour.start_s_max.items())
    yield GPU_SECONDS, hour.gpu_s.items()
    yield GPU_USD, ((labels, nano / NANO_USD) for labels, nano in hour.gpu_nano.items())
    yield REVENUE, (((model,), nano / NANO_USD) for model, nano in hour.revenue_nano.items())


def _lines(metric: Metric, values: Iterable[Value]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.means}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for labels, value in values:
        pairs = ",".join(f'{name}="{label}"' for name, label in zip(metric.labels, labels, strict=True))
        yield f"{metric.name}{{{pairs}}} {value:.9g}" if pairs else f"{metric.name} {value:.9g}"
