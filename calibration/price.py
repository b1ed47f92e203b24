"""A measured rate -> a price version. Pure, in integer nano-dollars.

    price of a unit = rent an hour / 3600 / (X x units x U x (1 - w)) x (1 + m)

X: images a second of the replicas that the rent is for; units: what one such image is charged; U: the share of the time
that they are busy; w: work that nobody pays (cancels, cold starts, retries); m: margin.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from math import ceil

from accounting.money import usd
from catalog.card import CardPrice, PriceBasis

SECONDS_PER_HOUR = 3600
# X is written with so many decimals and the price made from what is written, so that it can be made again.
RATE_STEP = Decimal("0.001")


class BadTerms(ValueError):
    """The message names the term and what it may be."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is assumed, not measured."""

    utilisation: Decimal = Decimal("0.5")
    waste: Decimal = Decimal("0.03")
    margin: Decimal = Decimal("0.30")

    def __post_init__(self) -> None:
        if not 0 < self.utilisation <= 1:
            raise BadTerms("the utilisation is above 0, and at most 1")
        if not 0 <= self.waste < 1:
            raise BadTerms("the waste is at least 0, and below 1")
        if self.margin < 0:
            raise BadTerms("the margin is at least 0")


@dataclass(frozen=True, slots=True)
class Rented:
    """The hardware that was measured. `usd_per_hour` is the rent of one of `count` accelerators."""

    gpu: str
    usd_per_hour: Decimal
    count: int = 1

    @property
    def nano_per_hour(self) -> Fraction:
        return Fraction(self.usd_per_hour) * 1_000_000_000 * self.count


def unit_nano(rented: Rented, images_per_s: Decimal, units: int, terms: Terms) -> int:
    """Nano-dollars a unit, rounded up: a price never falls below its own terms. Raises `BadTerms`."""
    if images_per_s <= 0:
        raise BadTerms(f"fewer than {RATE_STEP} images/s make no price")
    sold_per_s = Fraction(images_per_s) * units * Fraction(terms.utilisation) * (1 - Fraction(terms.waste))
    return ceil(rented.nano_per_hour / SECONDS_PER_HOUR / sold_per_s * (1 + Fraction(terms.margin)))


def measured_price(
    before: CardPrice, rented: Rented, images_per_s: float, units: int, terms: Terms, *, source: str, date: str
) -> CardPrice:
    """The version after `before`. A batch keeps its share of the price; prices of tokens stay as they are."""
    rate = Decimal(images_per_s).quantize(RATE_STEP, rounding=ROUND_DOWN)
    nano = unit_nano(rented, rate, units, terms)
    batch_nano = ceil(nano * _batch_share(before))
    return CardPrice(
        version=before.version + 1,
        state="measured",
        usd_per_1k_images=_usd_per_1k(nano),
        batch_usd_per_1k_images=_usd_per_1k(batch_nano),
        usd_per_1m_text_tokens=before.usd_per_1m_text_tokens,
        usd_per_1m_output_tokens=before.usd_per_1m_output_tokens,
        basis=PriceBasis(
            source=source,
            gpu=rented.gpu if rented.count == 1 else f"{rented.count} x {rented.gpu}",
            usd_per_gpu_hour=rented.usd_per_hour,
            images_per_s=rate,
            utilisation=terms.utilisation,
            waste=terms.waste,
            margin=terms.margin,
            date=date,
        ),
    )


def off_by(before: CardPrice, after: CardPrice) -> str:
    """How far the old price was from the measured one."""
    was, now = before.unit_nano, after.unit_nano
    if was == now:
        return "the same"
    if was == 0:
        return "free until now"
    side = "low" if was < now else "high"
    return f"{max(was, now) / min(was, now):.2f} times too {side}"


def _batch_share(price: CardPrice) -> Fraction:
    return Fraction(price.batch_unit_nano, price.unit_nano) if price.unit_nano else Fraction(1, 2)


def _usd_per_1k(nano: int) -> Decimal:
    return Decimal(usd(1000 * nano))
