"""`vlmfleet price`: what an image costs, of any card and size. Nothing has to run."""

import re
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from accounting.money import usd
from catalog import CardError, load_catalog
from catalog.catalog import CARDS
from catalog.vision import UnsupportedSize
from cli.failed import Failed
from cli.options import AsJson
from cli.table import dollars, number, show_one, text
from deployments.pricing import image_price


class Detail(StrEnum):
    """As in a request."""

    LOW = "low"
    AUTO = "auto"
    HIGH = "high"
    ORIGINAL = "original"


COLUMNS = [
    text("model"),
    number("vision_tokens"),
    number("encoder_patches"),
    number("units"),
    number("amount_nano", "price, nano-dollars"),
    dollars("amount_usd"),
    text("state", "the price is"),
    text("source", "from"),
]


def price(
    model: Annotated[str, typer.Argument(help="Any name of a card, deployed or not.")],
    size: Annotated[str, typer.Option(help="Width and height in pixels, upright: 1920x1080.")],
    detail: Annotated[Detail, typer.Option(help="How much of the image is to be seen, as in a request.")] = Detail.AUTO,
    cards: Annotated[Path, typer.Option(envvar="VLMFLEET_CARDS", help="The folder of the cards.")] = CARDS,
    as_json: AsJson = False,
) -> None:
    """What a request with one image and a short answer costs."""
    width_px, height_px = _pixels(size)
    try:
        (card,) = load_catalog(cards).pick([model])
        found = image_price(card, width_px, height_px, detail.value)
    except CardError as error:
        raise Failed(str(error)) from error
    except UnsupportedSize as error:
        raise Failed(f"{card.served_name} refuses an image of {size}: {error}") from error
    shown = {
        "model": card.served_name,
        **asdict(found),
        "amount_usd": usd(found.amount_nano),
        "state": card.price.state,
        "source": card.price.basis.source,
    }
    show_one(COLUMNS, shown, as_json=as_json)


def _pixels(size: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", size)
    if found is None:
        raise Failed(f"--size is {size!r}; give width and height in pixels, such as 1920x1080")
    return int(found[1]), int(found[2])
