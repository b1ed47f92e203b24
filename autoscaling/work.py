"""What a request costs a replica, in replica-seconds: one estimate for admission, queue, routing and autoscaling.

`work = c0 + cp * patches + cv * vision_tokens + ct * text_tokens + co * output_tokens`. It never touches money.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Size:
    """What is known of a request. `output_tokens` is an expectation before the answer, a count after it."""

    patches: float = 0
    vision_tokens: float = 0
    text_tokens: float = 0
    output_tokens: float = 0


@dataclass(frozen=True, slots=True)
class WorkModel:
    """The cost of a request on one GPU type at full load, where steps are shared by a full batch."""

    request_s: float
    patch_s: float
    vision_token_s: float
    text_token_s: float
    output_token_s: float

    def work_s(self, size: Size) -> float:
        return (
            self.request_s
            + self.patch_s * size.patches
            + self.vision_token_s * size.vision_tokens
            + self.text_token_s * size.text_tokens
            + self.output_token_s * size.output_tokens
        )

    @classmethod
    def fit(cls, points: Sequence[tuple[Size, float]]) -> Self:
        """The least squares of measured replica-seconds a request; no cost is below zero.

        A size that was the same in all points costs nothing of its own: it is in `request_s`.
        Raises ValueError if there are fewer points than costs to tell apart.
        """
        rows = np.array([(1.0, *astuple(size)) for size, _ in points])
        measured_s = np.array([seconds for _, seconds in points])
        costs = np.zeros(5)
        free = [0, *(column for column in range(1, 5) if np.ptp(rows[:, column]) > 0)] if len(points) else []
        if len(points) < max(len(free), 1):
            raise ValueError(f"{len(points)} points cannot tell {max(len(free), 1)} costs apart")
        while free:
            found = np.linalg.lstsq(rows[:, free], measured_s, rcond=None)[0]
            if (found >= 0).all():
                costs[free] = found
                break
            del free[int(found.argmin())]
        return cls(*map(float, costs))


# Qwen2.5-VL-7B BF16 on an A100, vLLM 0.7.2, from the published throughput of three image sizes (Neural Magic's
# model cards, February 2025). Patches are four to a vision token there, so their cost is in the token's.
A100_7B = WorkModel(request_s=0.03, patch_s=0.0, vision_token_s=0.24e-3, text_token_s=0.05e-3, output_token_s=1.95e-3)
