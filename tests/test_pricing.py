import pytest

from catalog import load_catalog
from catalog.vision import UnsupportedSize
from deployments.gateway.request import Detail
from deployments.pricing import ImagePrice, image_price, price_of

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("model", "size", "detail", "vision_tokens", "encoder_patches", "units"),
    [
        ("qwen2-vl-7b-instruct", (1280, 720), "auto", 1_196, 4_784, 1),  # 46 x 26
        ("qwen2-vl-7b-instruct", (4000, 3000), "high", 1_230, 4_920, 1),  # the card's own cap is one unit
        ("qwen2-vl-7b-instruct", (4000, 3000), "low", 315, 1_260, 1),  # 21 x 15
        ("internvl2-2b", (1920, 1080), "high", 2_304, 9_216, 2),  # (4 x 2 + 1) * 256
        ("internvl2-2b", (1920, 1080), "auto", 768, 3_072, 1),  # (2 x 1 + 1) * 256
        ("internvl2-2b", (1024, 1024), "auto", 1_280, 5_120, 1),  # (2 x 2 + 1) * 256
        ("internvl2-2b", (1024, 1024), "low", 256, 1_024, 1),
        ("paligemma-3b-pt-896", (640, 480), "low", 4_096, 4_096, 4),  # nothing makes it less
        ("llava-1.5-7b", (640, 480), "auto", 576, 576, 1),
        ("qwen-vl-chat", (640, 480), "auto", 256, 1_024, 1),
        ("moondream2", (640, 480), "auto", 729, 6_561, 2),  # 9 crops: ceil(6561 / 4 / 1280)
        ("smolvlm2-2.2b-instruct", (1024, 1024), "auto", 1_377, 12_393, 3),  # 17 tiles: ceil(12393 / 4 / 1280)
        ("smolvlm2-256m-video-instruct", (640, 480), "auto", 832, 13_312, 3),  # 13 tiles: ceil(13312 / 4 / 1280)
    ],
)
def test_the_price_of_an_image_of_any_model_and_size(
    model: str, size: tuple[int, int], detail: Detail, vision_tokens: int, encoder_patches: int, units: int
):
    """One pure call: its work, the units that this is, and what they cost."""
    card = CATALOG.find(model)
    expected = ImagePrice(vision_tokens, encoder_patches, units, units * card.price.unit_nano)
    assert image_price(card, *size, detail) == expected


def test_a_shape_that_the_model_refuses_has_no_price():
    """The error is the model's own."""
    with pytest.raises(UnsupportedSize):
        image_price(CATALOG.find("qwen2-vl-7b-instruct"), 5601, 28)


@pytest.mark.parametrize("card", CATALOG.cards, ids=lambda card: card.served_name)
def test_every_card_has_a_price_that_the_ledger_takes(card):
    """A batch costs half, and the basis says that the figure is an estimate's."""
    price = price_of(card)
    assert price.unit_nano > 0
    assert 2 * price.batch_unit_nano == price.unit_nano
    assert card.price.state == "estimate"
