import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.price import Price, Quote, Work, quote

PRICE = Price("qwen2-vl-7b", 1, unit_nano=1_341_000, batch_unit_nano=670_500)
INTERNVL_IMAGE = 3_328  # 13 tiles of 256

COUNTS = st.integers(0, 10**6)
PRICES = st.builds(Price, st.just("m"), st.just(1), COUNTS, COUNTS, text_token_nano=COUNTS, output_token_nano=COUNTS)


@pytest.mark.parametrize(
    ("images", "output_tokens", "units"),
    [
        ((), 0, 1),  # max(1, 0 + 0)
        ((), 1024, 1),  # 0 + ceil(512 / 512)
        ((0,), 0, 1),  # max(1, 0)
        ((1_196,), 0, 1),  # ceil(1196 / 1280)
        ((1_280,), 0, 1),  # ceil(1280 / 1280)
        ((1_281,), 0, 2),  # ceil(1281 / 1280)
        ((INTERNVL_IMAGE,), 0, 3),  # ceil(3328 / 1280 = 2.6)
        ((16_384,), 0, 13),  # ceil(16384 / 1280 = 12.8)
        ((1_196,), 512, 1),  # 1 + ceil(0 / 512)
        ((1_196,), 513, 2),  # 1 + ceil(1 / 512)
        ((1_196,), 1024, 2),  # 1 + ceil(512 / 512)
        ((1_196,), 1025, 3),  # 1 + ceil(513 / 512)
        ((100, 100), 0, 2),  # 1 + 1: images do not share a unit
        ((INTERNVL_IMAGE,) * 3, 1024, 10),  # 3 + 3 + 3 + 1
    ],
)
def test_units(images: tuple[int, ...], output_tokens: int, units: int):
    """A request is at least one unit; each image and each step of output beyond the free one adds its own."""
    quoted = quote(PRICE, Work(images, text_tokens=0, output_tokens=output_tokens))
    assert quoted.units == units
    assert quoted.amount_nano == units * PRICE.unit_nano


def test_a_charge_gives_back_the_output_units_that_were_not_used():
    """Three images of 9,984 tokens are held with 1,024 output tokens and charged after 300."""
    images = (INTERNVL_IMAGE,) * 3
    hold = quote(PRICE, Work(images, text_tokens=0, output_tokens=1024))
    charge = quote(PRICE, Work(images, text_tokens=0, output_tokens=300))
    assert sum(images) == Work(images, 0, 0).vision_tokens == 9_984
    assert hold == Quote((3, 3, 3), output_units=1, amount_nano=13_410_000)  # 10 * 1,341,000
    assert charge == Quote((3, 3, 3), output_units=0, amount_nano=12_069_000)  # 9 * 1,341,000


def test_tokens_cost_extra_where_the_price_says_so():
    """Text and output tokens are added to the units, each at its own rate."""
    price = Price("m", 1, unit_nano=1_000, batch_unit_nano=500, text_token_nano=20, output_token_nano=60)
    # 1 * 1,000 + 100 * 20 + 50 * 60
    assert quote(price, Work((1_196,), text_tokens=100, output_tokens=50)).amount_nano == 6_000


@given(PRICES, st.lists(COUNTS, max_size=16), COUNTS, COUNTS, st.data())
def test_a_charge_never_exceeds_its_hold(price: Price, images: list[int], text: int, output: int, data: st.DataObject):
    """Whatever is used within the bounds of the hold costs at most the hold, in whole nano-dollars."""
    used = Work(tuple(images), data.draw(st.integers(0, text)), data.draw(st.integers(0, output)))
    hold = quote(price, Work(tuple(images), text, output))
    charge = quote(price, used)
    assert 0 <= charge.amount_nano <= hold.amount_nano
    assert type(charge.amount_nano) is type(hold.amount_nano) is int
