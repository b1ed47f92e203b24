"""Places in an image, as fractions of its width and height, from the upper left corner."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Box:
    """`label` is None where the model gave none."""

    label: str | None
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @classmethod
    def of(cls, label: str | None, x: tuple[float, float], y: tuple[float, float]) -> Self:
        """From two opposite corners, in any order; what lies beyond the image is cut off."""
        return cls(label, _within(min(x)), _within(min(y)), _within(max(x)), _within(max(y)))

    def as_data(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "x_min": self.x_min,
            "y_min": self.y_min,
            "x_max": self.x_max,
            "y_max": self.y_max,
        }


@dataclass(frozen=True, slots=True)
class Point:
    """`label` is None where the model gave none."""

    label: str | None
    x: float
    y: float

    @classmethod
    def of(cls, label: str | None, x: float, y: float) -> Self:
        """What lies beyond the image moves to its edge."""
        return cls(label, _within(x), _within(y))

    def as_data(self) -> dict[str, Any]:
        return {"label": self.label, "x": self.x, "y": self.y}


def _within(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))
