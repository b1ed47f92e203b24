import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.price import ImageWork, Price, Quote, Work, quote

PRICE = Price(model="qwen2-vl-7b", version=1, unit_nano=1_341_000, batch_unit_nano=670_500)
INTERNVL_IMAGE = 3_328  # 13 tiles of 256

COUNTS = st.integers(0, 10**6)
IMAGES = st.lists(st.builds(ImageWork, COUNTS, COUNTS), max_size=16).map(tuple)
PRICES = st.builds(
    Price,
    model=st.just("m"),
    version=st.just(1),
    unit_nano=COUNTS,
    batch_unit_nano=COUNTS,
    text_token_nano=COUNTS,
    output_token_nano=COUNTS,
)


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
    quoted = quote(PRICE, Work(images=tuple(map(ImageWork, images)), text_tokens=0, output_tokens=output_tokens))
    assert quoted.units == units
    assert quoted.amount_nano == units * PRICE.unit_nano


@pytest.mark.parametrize(
    ("vision_tokens", "encoder_patches", "priced_tokens"),
    [
        (1_196, 4_784, 1_196),  # Qwen2-VL merges four patches into a token
        (3_328, 13_312, 3_328),  # and so does InternVL2
        (1_024, 1_024, 1_024),  # PaliGemma merges none
        (256, 1_024, 256),  # Qwen-VL: ceil(1024 / 4)
        (729, 9_477, 2_370),  # Moondream: ceil(9477 / 4 = 2369.25)
        (1_053, 9_477, 2_370),  # SmolVLM2-2.2B
        (832, 13_312, 3_328),  # SmolVLM2-500M
        (0, 0, 0),
    ],
)
def test_an_image_is_priced_by_whichever_work_is_more(vision_tokens: int, encoder_patches: int, priced_tokens: int):
    """For the language model its vision tokens, for the encoder a quarter of its patches."""
    assert ImageWork(vision_tokens, encoder_patches).priced_tokens == priced_tokens


def test_what_fills_the_context_is_not_what_is_priced():
    """Moondream's 9,477 patches are two units, and 729 tokens of the context."""
    work = Work(images=(ImageWork(729, 9_477),), text_tokens=0, output_tokens=0)
    assert work.vision_tokens == 729
    assert quote(PRICE, work).image_units == (2,)  # ceil(2370 / 1280)


def test_a_charge_gives_back_the_output_units_that_were_not_used():
    """Three images of 9,984 tokens are held with 1,024 output tokens and charged after 300."""
    images = (ImageWork(INTERNVL_IMAGE),) * 3
    hold = quote(PRICE, Work(images=images, text_tokens=0, output_tokens=1024))
    charge = quote(PRICE, Work(images=images, text_tokens=0, output_tokens=300))
    assert Work(images=images, text_tokens=0, output_tokens=0).vision_tokens == 9_984
    assert hold == Quote(image_units=(3, 3, 3), output_units=1, amount_nano=13_410_000)  # 10 * 1,341,000
    assert charge == Quote(image_units=(3, 3, 3), output_units=0, amount_nano=12_069_000)  # 9 * 1,341,000


def test_tokens_cost_extra_where_the_price_says_so():
    """Text and output tokens are added to the units, each at its own rate."""
    price = Price(model="m", version=1, unit_nano=1_000, batch_unit_nano=500, text_token_nano=20, output_token_nano=60)
    # 1 * 1,000 + 100 * 20 + 50 * 60
    assert quote(price, Work(images=(ImageWork(1_196),), text_tokens=100, output_tokens=50)).amount_nano == 6_000


@given(PRICES, IMAGES, COUNTS, COUNTS, st.data())
def test_a_charge_never_exceeds_its_hold(
    price: Price, images: tuple[ImageWork, ...], text: int, output: int, data: st.DataObject
):
    """Whatever is used within the bounds of the hold costs at most the hold, in whole nano-dollars."""
    used = Work(
        images=images, text_tokens=data.draw(st.integers(0, text)), output_tokens=data.draw(st.integers(0, output))
    )
    hold = quote(price, Work(images=images, text_tokens=text, output_tokens=output))
    charge = quote(price, used)
    assert 0 <= charge.amount_nano <= hold.amount_nano
    assert type(charge.amount_nano) is type(hold.amount_nano) is int


@given(PRICES, IMAGES, COUNTS, COUNTS)
def test_more_work_never_costs_less(price: Price, images: tuple[ImageWork, ...], tokens: int, patches: int):
    """In either kind of work, and one image more is at least one unit more."""
    amount_nano = quote(price, Work(images=images, text_tokens=0, output_tokens=0)).amount_nano
    larger = tuple(ImageWork(image.vision_tokens + tokens, image.encoder_patches + patches) for image in images)
    assert quote(price, Work(images=larger, text_tokens=0, output_tokens=0)).amount_nano >= amount_nano
    one_more = quote(price, Work(images=(*images, ImageWork(tokens, patches)), text_tokens=0, output_tokens=0))
    assert one_more.amount_nano >= amount_nano + (price.unit_nano if images else 0)


@given(PRICES, COUNTS, COUNTS)
def test_patches_that_merge_four_to_a_token_change_no_price(price: Price, tokens: int, text: int):
    """So Qwen2-VL and InternVL2 cost what their vision tokens do."""
    with_patches, without = ImageWork(tokens, 4 * tokens), ImageWork(tokens)
    assert quote(price, Work(images=(with_patches,), text_tokens=text, output_tokens=0)) == quote(
        price, Work(images=(without,), text_tokens=text, output_tokens=0)
    )
