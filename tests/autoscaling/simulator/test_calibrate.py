"""A fit is good if it says what loads do that it has not seen."""

from dataclasses import replace

import numpy as np

from autoscaling.simulator.calibrate import LoadPoint, errors, fit, simulated
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.trace import Trace

REAL = ReplicaModel(
    step_s=0.006, sequence_s=0.0008, token_s=0.00004, vision_token_s=0.0003, request_s=0.01,
    sequences=16, step_tokens=2_048, step_vision_tokens=2_048, kv_tokens=100_000,
)  # fmt: skip
GUESS = replace(REAL, step_s=0.02, sequence_s=0.0002, token_s=0.0001, vision_token_s=0.0001, request_s=0.003)


def measured(rate: float, seed: int) -> LoadPoint:
    """What the real engine did, with the noise of a real clock."""
    rng = np.random.default_rng(seed)
    count = 150
    sizes = (rng.integers(0, 800, count), rng.integers(5, 300, count), rng.integers(1, 64, count))
    exact = simulated(REAL, Trace.of("", np.cumsum(rng.exponential(1 / rate, count)), *sizes))
    noise = rng.normal(1.0, 0.03, (2, count))
    first_s = exact.sent.t_s + (exact.first_s - exact.sent.t_s) * noise[0]
    return LoadPoint(exact.sent, first_s, first_s + (exact.finish_s - exact.first_s) * noise[1])


def test_loads_that_were_left_out_are_foretold_within_a_tenth():
    fitted = fit(GUESS, [measured(rate, seed=1) for rate in (0.5, 2.0, 5.0)])
    left_out = [measured(rate, seed=2) for rate in (1.0, 3.0, 8.0)]
    assert np.abs(errors(fitted, left_out)).mean(axis=0).max() <= 0.1
    assert np.abs(errors(GUESS, left_out)).mean(axis=0).max() > 0.1
