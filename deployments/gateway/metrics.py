"""What a gateway counts of the requests that it answers. Labels are models, tiers and outcomes, never keys or URLs."""

from collections.abc import Collection
from typing import Protocol

from deployments.gateway.bill import Bill
from deployments.gateway.errors import GatewayError
from deployments.metric import Instruments, Metric

REQUEST = ("model", "tier")

REQUESTS = Metric(
    "vlmfleet_requests", "counter", (*REQUEST, "outcome"), "Requests that ended, of those that were admitted."
)
ERRORS = Metric("vlmfleet_errors", "counter", ("category",), "Answers that were errors, by the error's code.")
IMAGES = Metric("vlmfleet_images", "counter", REQUEST, "Images of requests that ended.")
VISION_TOKENS = Metric("vlmfleet_vision_tokens", "counter", REQUEST, "Vision tokens of requests that were answered.")
PROMPT_TOKENS = Metric(
    "vlmfleet_prompt_tokens", "counter", REQUEST, "Prompt tokens, vision tokens included, by the engine's count."
)
CACHED_TOKENS = Metric(
    "vlmfleet_cached_tokens", "counter", REQUEST, "Of these, tokens that the engine had in its prefix cache."
)
OUTPUT_TOKENS = Metric("vlmfleet_output_tokens", "counter", REQUEST, "Tokens that were produced.")
TTFT = Metric("vlmfleet_ttft_seconds", "histogram", REQUEST, "Of streams: request begun to its first chunk.")
TPOT = Metric("vlmfleet_tpot_seconds", "histogram", REQUEST, "Of streams: time for each token after the first.")
LATENCY = Metric("vlmfleet_request_seconds", "histogram", REQUEST, "End to end, of complete answers.")
ADMISSION = Metric(
    "vlmfleet_admission_seconds", "histogram", REQUEST, "Body read, checked and its media made ready, up to the hold."
)
HOLD_ACK = Metric("vlmfleet_hold_ack_seconds", "histogram", (), "Hold sent to hold on disk: the ledger's lag.")
QUEUE_WAIT = Metric(
    "vlmfleet_queue_wait_seconds", "histogram", ("model",), "Wait for a turn, of requests that waited for one."
)
COALESCED = Metric(
    "vlmfleet_coalesced_requests", "counter", ("model",), "Requests that shared another one's execution."
)
MISMATCHES = Metric(
    "vlmfleet_witness_mismatches",
    "counter",
    ("model",),
    "Answers whose vision tokens, by the engine's count, were not those of our formula.",
)
TABLE = (
    REQUESTS, ERRORS, IMAGES, VISION_TOKENS, PROMPT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, TTFT, TPOT, LATENCY, ADMISSION,
    HOLD_ACK, QUEUE_WAIT, COALESCED, MISMATCHES,
)  # fmt: skip


class Metrics(Protocol):
    """Observes requests as they end."""

    def ended(self, bill: Bill, elapsed_s: float) -> None:
        """A request with a bill has ended, so long after it began."""

    def refused(self, error: GatewayError) -> None:
        """A request was answered with an error."""

    def queued(self, model: str, waited_s: float) -> None:
        """A request has waited for its turn."""

    def coalesced(self, model: str) -> None:
        """A request reads the answer to another one."""


class ServeMetrics:
    """Records in this process; Ray's agent on the node exports it."""

    def __init__(self, instruments: Instruments, delimited: Collection[str] = ()) -> None:
        self._instruments = instruments
        self._delimited = delimited

    def ended(self, bill: Bill, elapsed_s: float) -> None:
        """See `Metrics.ended`."""
        labels = bill.price.model, bill.tier
        self._instruments.count(REQUESTS, 1, *labels, str(bill.outcome))
        self._instruments.count(IMAGES, len(bill.work.images), *labels)
        if bill.hold_ack_s is not None:
            self._instruments.observe(HOLD_ACK, bill.hold_ack_s)
        if bill.usage.prompt_tokens:
            self._answered(bill, *labels)
        self._timed(bill, elapsed_s, *labels)

    def refused(self, error: GatewayError) -> None:
        """See `Metrics.refused`."""
        self._instruments.count(ERRORS, 1, error.code or error.type)

    def queued(self, model: str, waited_s: float) -> None:
        """See `Metrics.queued`."""
        self._instruments.observe(QUEUE_WAIT, waited_s, model)

    def coalesced(self, model: str) -> None:
        """See `Metrics.coalesced`."""
        self._instruments.count(COALESCED, 1, model)

    def _answered(self, bill: Bill, *labels: str) -> None:
        """The engine has told what it used."""
        usage, vision_tokens = bill.usage, bill.work.vision_tokens
        self._instruments.count(VISION_TOKENS, vision_tokens, *labels)
        self._instruments.count(PROMPT_TOKENS, usage.prompt_tokens, *labels)
        self._instruments.count(CACHED_TOKENS, usage.cached_tokens, *labels)
        self._instruments.count(OUTPUT_TOKENS, usage.output_tokens, *labels)
        if usage.vision_tokens is not None:
            excess = usage.vision_tokens - vision_tokens
            mismatch = excess < 0 or (excess > 0 and bill.price.model not in self._delimited)
            self._instruments.count(MISMATCHES, int(mismatch), bill.price.model)

    def _timed(self, bill: Bill, elapsed_s: float, *labels: str) -> None:
        admission_s = max(0.0, elapsed_s - bill.age_s())
        self._instruments.observe(ADMISSION, admission_s, *labels)
        if bill.outcome == "complete":
            self._instruments.observe(LATENCY, elapsed_s, *labels)
        if bill.is_stream and bill.ttft_s is not None:
            self._instruments.observe(TTFT, admission_s + bill.ttft_s, *labels)
            if (tpot_s := bill.tpot_s()) is not None:
                self._instruments.observe(TPOT, tpot_s, *labels)
