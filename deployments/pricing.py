"""Where the catalog meets accounting: a card's price, and what an image of any size costs by it. Pure."""

from dataclasses import dataclass

from accounting.price import UNIT_VISION_TOKENS, ImageWork, Price, Work, quote
from catalog import ModelCard
from catalog.vision import Seen, Vision
from deployments.gateway.request import Detail

# The most vision tokens for each `detail`; `high` is bounded by the card alone. `low` is 512 x 512 px for Qwen2-VL.
DETAIL_TOKENS_MAX: dict[Detail, int | None] = {"low": 334, "auto": UNIT_VISION_TOKENS, "high": None, "original": None}


@dataclass(frozen=True, slots=True)
class ImagePrice:
    """What a request with one image and a short answer costs, and why."""

    vision_tokens: int
    encoder_patches: int
    units: int
    amount_nano: int


def price_of(card: ModelCard) -> Price:
    """The card's price as the ledger stores it."""
    price = card.price
    return Price(
        model=card.served_name,
        version=price.version,
        unit_nano=price.unit_nano,
        batch_unit_nano=price.batch_unit_nano,
        text_token_nano=price.text_token_nano,
        output_token_nano=price.output_token_nano,
        basis=price.basis.model_dump_json(exclude_none=True),
    )


def seen_at(vision: Vision, width_px: int, height_px: int, detail: Detail) -> Seen:
    """An upright image as the model sees it at this `detail`. Raises `UnsupportedSize`."""
    tokens_max = DETAIL_TOKENS_MAX[detail]
    if tokens_max is None:
        return vision.see(width_px, height_px)
    return vision.see_within(width_px, height_px, tokens_max)


def image_price(card: ModelCard, width_px: int, height_px: int, detail: Detail = "auto") -> ImagePrice:
    """What an upright image costs. Raises `UnsupportedSize` where the model's processor refuses its shape."""
    seen = seen_at(card.vision, width_px, height_px, detail)
    quoted = quote(
        price_of(card),
        Work(images=(ImageWork(seen.vision_tokens, seen.encoder_patches),), text_tokens=0, output_tokens=0),
    )
    return ImagePrice(seen.vision_tokens, seen.encoder_patches, quoted.units, quoted.amount_nano)
