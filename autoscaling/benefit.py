"""What one more replica is worth: SLO violations an hour that it avoids."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MORE = 1.25  # the curve ends so far above what is wanted


def curve(replicas: Floats, served: Floats, want: int) -> tuple[float, ...]:
    """Gains of replica 1, 2, ...; never more than the one before: what is granted is then worth most in any order.

    `served` is requests an hour in time with so many `replicas`, ascending. Fewer replicas than the first serve their
    share of it. Where two together gain more than the first alone, each counts as half of both.
    """
    count = math.ceil(want * MORE) + 1
    hull = _hull([(0.0, 0.0), *zip(replicas.tolist(), np.maximum.accumulate(served).tolist(), strict=True)])
    at, value = zip(*hull, strict=True)
    gains = np.diff(np.interp(np.arange(count + 1), at, value))
    return tuple(gains.round(6).tolist())


def with_present(gains: tuple[float, ...], replicas: float, requests: float) -> tuple[float, ...]:
    """Work for so many `replicas`, `requests` an hour, is here now: each that serves it gains its share of them at least.

    The curve is of what is usual; a burst that nobody has seen before would else be worth nothing.
    """
    needed = math.ceil(replicas)
    if not needed:
        return gains
    usual = gains[:needed] + (0.0,) * (needed - len(gains))
    return tuple(max(gain, requests / needed) for gain in usual) + gains[needed:]


def _hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The upper concave hull, from left to right."""
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / max(b[0] - a[0], 1e-12)
