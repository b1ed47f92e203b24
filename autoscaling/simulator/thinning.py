"""More or fewer requests than were recorded."""

import numpy as np

from autoscaling.simulator.jsonl import BadTrace
from autoscaling.simulator.trace import Trace

NEAR_S = 30.0  # a copy of a request comes within so long of it
REQUESTS_MAX = 20_000_000  # that are simulated: some gigabytes


def refuse_too_many(name: str, requests: float, scale: float) -> None:
    """Before they are drawn. Raises BadTrace with the scale that would do."""
    if requests > REQUESTS_MAX:
        enough = f"{0.99 * scale * REQUESTS_MAX / requests:.2g}"
        raise BadTrace(
            f"{name}: {requests / 1e6:,.0f} million requests at --scale {scale:g}, at most {REQUESTS_MAX / 1e6:.0f} "
            f"million can be simulated; --scale {enough} would do"
        )


def scaled(trace: Trace, rng: np.random.Generator, scale: float) -> Trace:
    """Each request `scale` times on average: copies come near the first, so that bursts that last stay."""
    if scale == 1:
        return trace
    refuse_too_many(trace.name, len(trace) * scale, scale)
    copies = np.floor(scale + rng.random(len(trace))).astype(np.int64)
    which = np.repeat(np.arange(len(trace)), copies)
    again = np.concatenate(([False], which[1:] == which[:-1]))
    t_s = trace.t_s[which] + again * NEAR_S * (rng.random(len(which)) - 0.5)
    return Trace.of(
        trace.name,
        np.clip(t_s, 0.0, trace.span_s),
        trace.vision_tokens[which],
        trace.text_tokens[which],
        trace.output_tokens[which],
        images=trace.images * scale,
    )
