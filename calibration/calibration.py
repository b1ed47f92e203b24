"""A calibration: what was measured of a card, and the price that it makes. Pure but for `calibrate`, which measures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from calibration.load import Target
from calibration.measurement import Effort, measure_points
from calibration.price import Rented, Terms, measured_price, off_by
from calibration.search import Point, best_point
from calibration.workload import Standard
from catalog.card import CardPrice, ModelCard
from loadtests.slo import Slo


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and under which conditions its price is made."""

    card: ModelCard
    request: Standard
    slo: Slo
    rented: Rented
    terms: Terms


@dataclass(frozen=True, slots=True)
class Calibration:
    """`points` are the steps of the search, `best` the one that makes the price."""

    plan: Plan
    points: tuple[Point, ...]
    best: Point
    price: CardPrice

    def as_json(self) -> dict[str, Any]:
        """Everything that was found. Money is decimal strings."""
        plan = self.plan
        return {
            "model": plan.card.served_name,
            "gpu": plan.rented.gpu,
            "slo": described(plan.slo),
            **asdict(self.best),
            "images_per_s": self.best.images_per_s,
            "units": plan.request.units,
            "vision_tokens": plan.request.vision_tokens,
            "output_tokens": plan.request.output_tokens,
            "usd_per_1k_images": str(self.price.usd_per_1k_images),
            "usd_per_1k_images_before": str(plan.card.price.usd_per_1k_images),
            "state_before": plan.card.price.state,
            "off_by": off_by(plan.card.price, self.price),
            "price": self.price.model_dump(mode="json", exclude_none=True),
            "points": [asdict(point) for point in self.points],
        }


async def calibrate(
    plan: Plan, target: Target, effort: Effort, date: str, tell: Callable[[Point], None]
) -> Calibration:
    """Measure. Raises `NoRate`, `Unanswered` and `BadTerms`."""
    points = await measure_points(target, plan.request, plan.slo, effort, tell)
    return concluded(plan, points, date)


def concluded(plan: Plan, points: Sequence[Point], date: str) -> Calibration:
    """The price that the points make."""
    best = best_point(points)
    assert best, "the search ends with a rate that was kept"
    price = measured_price(
        plan.card.price,
        plan.rented,
        best.images_per_s,
        plan.request.units,
        plan.terms,
        source=_source(plan),
        date=date,
    )
    return Calibration(plan, tuple(points), best, price)


def card_slo(card: ModelCard, vision_tokens: int, goodput_min: float) -> Slo:
    """What the card promises for a request with so many vision tokens."""
    return Slo(card.slo.answer_ms(vision_tokens, 1), card.slo.tpot_ms, goodput_min)


def described(slo: Slo) -> str:
    return f"TTFT {slo.ttft_ms:.0f} ms, TPOT {slo.tpot_ms:.0f} ms, for {slo.goodput_min:.1%}"


def _source(plan: Plan) -> str:
    """How the price can be made again."""
    request, engine = plan.request, plan.card.engine
    return (
        f"vlmfleet calibrate: {engine.name} {engine.version}, pictures of {request.width_px}x{request.height_px} px"
        f" (vision tokens: {request.vision_tokens}, units: {request.units}), {request.output_tokens} output tokens;"
        f" {described(plan.slo)}"
    )
