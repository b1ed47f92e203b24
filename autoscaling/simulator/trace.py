"""Requests as they arrived: one array a field, in order of time."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in seconds from the first moment that the trace is about, and sizes in tokens."""

    name: str
    t_s: Floats
    vision_tokens: Counts
    text_tokens: Counts
    output_tokens: Counts
    images: float = 0.0  # images in all, if the source counts them; else the requests with vision tokens

    @classmethod
    def of(
        cls,
        name: str,
        t_s: Floats,
        vision_tokens: Counts,
        text_tokens: Counts,
        output_tokens: Counts,
        images: float = 0,
    ) -> Self:
        """Sorted by time."""
        order = np.argsort(t_s, kind="stable")
        sizes = (
            np.ascontiguousarray(size[order], dtype=np.int64) for size in (vision_tokens, text_tokens, output_tokens)
        )
        vision, text, output = sizes
        return cls(
            name,
            np.ascontiguousarray(t_s[order], dtype=np.float64),
            vision,
            text,
            np.maximum(output, 1),
            images or float((vision > 0).sum()),
        )

    def __len__(self) -> int:
        return len(self.t_s)

    @property
    def span_s(self) -> float:
        return float(self.t_s[-1]) if len(self) else 0.0
