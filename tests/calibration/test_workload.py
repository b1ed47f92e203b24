import io
import json
from base64 import b64decode

import pytest
from PIL import Image

from calibration.workload import arrivals_s, body, standard
from catalog import load_catalog

CATALOG = load_catalog()


@pytest.mark.parametrize(
    ("model", "size_px", "vision_tokens", "units"),
    [
        ("qwen2-vl-7b-instruct", (1280, 720), 1_196, 1),
        ("llava-1.5-7b-hf", (1280, 720), 576, 1),
        ("moondream2", (1280, 720), 729, 2),  # its encoder does the work
        ("paligemma-3b-pt-896", (1280, 720), 4_096, 4),
    ],
)
def test_the_standard_request_is_priced_as_the_gateway_prices_it(model, size_px, vision_tokens, units):
    request = standard(CATALOG.pick([model]).cards[0])
    assert ((request.width_px, request.height_px), request.vision_tokens, request.units) == (
        size_px,
        vision_tokens,
        units,
    )


def test_a_picture_is_sent_as_the_gateway_shrinks_it():
    """InternVL2 sees fewer tiles at `detail: auto`, so that it is one unit."""
    card = CATALOG.pick(["internvl2-2b"]).cards[0]
    request = standard(card)
    assert request.units == 1
    assert card.vision.see(request.width_px, request.height_px).vision_tokens == request.vision_tokens


def test_an_answer_is_no_longer_than_the_card_allows():
    card = CATALOG.pick(["demo-qwen2-vl"]).cards[0]
    limits = card.limits.model_copy(update={"output_tokens_max": 20})
    assert standard(card.model_copy(update={"limits": limits})).output_tokens == 20


def picture(data: bytes) -> Image.Image:
    url = json.loads(data)["messages"][0]["content"][0]["image_url"]["url"]
    return Image.open(io.BytesIO(b64decode(url.partition(",")[2])))


def test_every_picture_is_another_one_of_the_same_size():
    request = standard(CATALOG.pick(["qwen2-vl-2b-instruct"]).cards[0])
    first, second = picture(body(request, 0)), picture(body(request, 1))
    assert first.size == second.size == (1280, 720)
    assert first.tobytes() != second.tobytes()
    assert body(request, 0) == body(request, 0)


def test_an_answer_has_exactly_the_tokens_that_are_priced():
    asked = json.loads(body(standard(CATALOG.pick(["qwen2-vl-2b-instruct"]).cards[0]), 0))
    assert (asked["max_tokens"], asked["ignore_eos"], asked["stream"]) == (150, True, True)


@pytest.mark.parametrize(("count", "rate"), [(20, 0.5), (100, 10), (1, 3)])
def test_arrivals_are_in_order_and_within_the_step(count: int, rate: float):
    dues_s = arrivals_s(count, rate, seed=1)
    assert len(dues_s) == count
    assert dues_s == sorted(dues_s) == arrivals_s(count, rate, seed=1)
    assert 0 <= dues_s[0] <= dues_s[-1] <= count / rate
