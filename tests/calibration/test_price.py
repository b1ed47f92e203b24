from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.price import BadTerms, Rented, Terms, measured_price, off_by, unit_nano
from catalog.card import CardPrice, PriceBasis

A100 = Rented("NVIDIA A100-SXM4-80GB", Decimal("1.79"))
H200 = Rented("NVIDIA H200", Decimal("4.59"))


def card_price(usd: str, batch_usd: str) -> CardPrice:
    basis = PriceBasis(source="a list", date="2026-01-01")
    return CardPrice(
        version=3,
        state="estimate",
        usd_per_1k_images=Decimal(usd),
        batch_usd_per_1k_images=Decimal(batch_usd),
        usd_per_1m_output_tokens=Decimal("0.5"),
        basis=basis,
    )


ESTIMATE = card_price("1.341", "0.6705")


@pytest.mark.parametrize(
    ("rented", "images_per_s", "usd_per_1k"),
    [(A100, 1, 1.33), (A100, 2, 0.67), (A100, 4, 0.33), (H200, 1, 3.42), (H200, 2, 1.71), (H200, 8, 0.43)],
)
def test_the_formula_gives_the_known_figures(rented: Rented, images_per_s: int, usd_per_1k: float):
    """At a utilisation of 0.5, waste of 0.03 and margin of 0.30."""
    assert round(unit_nano(rented, Decimal(images_per_s), 1, Terms()) / 1_000_000, 2) == usd_per_1k


def test_rent_alone_is_exact():
    """$3.60 an hour is a million nano-dollars a second."""
    terms = Terms(Decimal(1), Decimal(0), Decimal(0))
    assert unit_nano(Rented("x", Decimal("3.6")), Decimal(4), 1, terms) == 250_000


@pytest.mark.parametrize(
    ("change", "nano"),
    [
        ({"count": 2}, 500_000),  # two accelerators cost twice as much
        ({"units": 2}, 125_000),  # an image of two units pays its cost in two
        ({"utilisation": "0.5"}, 500_000),
        ({"waste": "0.75"}, 1_000_000),
        ({"margin": "1"}, 500_000),
        ({"images_per_s": 3}, 333_334),  # never below the cost
    ],
)
def test_each_term_has_its_part(change: dict, nano: int):
    given_terms = {"utilisation": "1", "waste": "0", "margin": "0"} | change
    terms = Terms(*(Decimal(given_terms[name]) for name in ("utilisation", "waste", "margin")))
    rented = Rented("x", Decimal("3.6"), change.get("count", 1))
    assert unit_nano(rented, Decimal(change.get("images_per_s", 4)), change.get("units", 1), terms) == nano


@given(rate=st.decimals("0.001", "1000", places=3), units=st.integers(1, 13), count=st.integers(1, 8))
def test_what_is_sold_earns_the_rent_and_the_margin(rate: Decimal, units: int, count: int):
    """And not a nano-dollar a unit more than it must."""
    terms = Terms()
    nano = unit_nano(Rented("x", Decimal("1.79"), count), rate, units, terms)
    sold_an_hour = 3600 * rate * units * terms.utilisation * (1 - terms.waste)
    needed = Decimal(1_790_000_000) * count * (1 + terms.margin)
    assert (nano - 1) * sold_an_hour < needed <= nano * sold_an_hour


def test_a_measured_price_is_the_next_version_with_its_conditions():
    price = measured_price(ESTIMATE, Rented("NVIDIA L4", Decimal("0.80"), 2), 2.0009, 1, Terms(), source="s", date="d")
    assert (price.version, price.state) == (4, "measured")
    assert price.basis == PriceBasis(
        source="s",
        gpu="2 x NVIDIA L4",
        usd_per_gpu_hour=Decimal("0.80"),
        images_per_s=Decimal("2.000"),
        utilisation=Decimal("0.5"),
        waste=Decimal("0.03"),
        margin=Decimal("0.30"),
        date="d",
    )
    assert price.unit_nano == unit_nano(Rented("", Decimal("0.80"), 2), Decimal("2.000"), 1, Terms())


def test_a_batch_keeps_its_share_and_tokens_their_price():
    price = measured_price(ESTIMATE, A100, 2, 1, Terms(), source="s", date="d")
    assert price.batch_unit_nano == -(-price.unit_nano // 2)
    assert price.output_token_nano == ESTIMATE.output_token_nano


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [("1", "1", "the same"), ("1", "2.5", "2.50 times too low"), ("3", "2", "1.50 times too high"), ("0", "1", "free")],
)
def test_how_far_the_estimate_was_off(was: str, now: str, words: str):
    assert words in off_by(card_price(was, was), card_price(now, now))


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        (("0", "0", "0"), "utilisation"),
        (("1.1", "0", "0"), "utilisation"),
        (("1", "1", "0"), "waste"),
        (("1", "0", "-1"), "margin"),
    ],
)
def test_terms_that_make_no_price_are_refused(terms: tuple[str, str, str], says: str):
    with pytest.raises(BadTerms, match=says):
        Terms(*map(Decimal, terms))


def test_no_rate_is_no_price():
    with pytest.raises(BadTerms, match="images/s"):
        measured_price(ESTIMATE, A100, 0.0004, 1, Terms(), source="s", date="d")
