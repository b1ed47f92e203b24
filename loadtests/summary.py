"""The figures of a run, as one JSON object: `report.json`. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from loadtests.record import Record
from loadtests.slo import Slo, Verdict, verdict

PERCENTILES = (50, 90, 95, 99)


def summary(records: Sequence[Record], seconds: float, rate: float, slo: Slo) -> dict[str, Any]:
    """Everything that the report shows. Percentiles are exact: locust's own are rounded to two digits."""
    answers = [record.answer for record in records if record.answer]
    lags = [record.lag_ms for record in records]
    judged = verdict(records, percentile(lags, 99), slo)
    images = sum(answer.images for answer in answers)
    cost = sum(answer.cost_usd for answer in answers)
    return {
        "verdict": _verdict(judged, slo),
        "requests": {
            "due": len(records),
            "answered": len(answers),
            "failures": dict(Counter(record.failure for record in records if record.failure)),
        },
        "rates": {
            "asked_requests_s": rate,
            "answered_requests_s": len(answers) / seconds,
            "goodput_requests_s": judged.goodput * len(records) / seconds,
            "images_s": images / seconds,
            "vision_tokens_s": sum(answer.vision_tokens for answer in answers) / seconds,
            "input_tokens_s": sum(answer.input_tokens for answer in answers) / seconds,
            "output_tokens_s": sum(answer.output_tokens for answer in answers) / seconds,
        },
        "usd_per_1k_images": 1000 * cost / images if images else None,
        "ttft_ms": spread([answer.ttft_ms for answer in answers]),
        "tpot_ms": spread([answer.tpot_ms for answer in answers]),
        "e2e_ms": spread([answer.e2e_ms for answer in answers]),
        "generator_lag_ms": spread(lags),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and percentiles; empty if there is nothing."""
    if not values:
        return {}
    return {"mean": float(np.mean(values))} | {f"p{at}": percentile(values, at) for at in PERCENTILES}


def percentile(values: Sequence[float], at: float) -> float:
    return float(np.percentile(values, at)) if len(values) else 0.0


def _verdict(judged: Verdict, slo: Slo) -> dict[str, Any]:
    promise = {"ttft_ms": slo.ttft_ms, "tpot_ms": slo.tpot_ms, "goodput_min": slo.goodput_min}
    return {"passed": judged.passed, "goodput": judged.goodput, "why": list(judged.why), "slo": promise}
