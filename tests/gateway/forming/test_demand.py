import pytest

from accounting.price import ImageWork, Work
from deployments.gateway.forming.demand import Demand, demand_of


@pytest.mark.parametrize(
    ("images", "text_tokens", "tokens"),
    [
        ((), 0, 1),
        ((), 400, 101),
        ((ImageWork(64, 256),), 0, 65),
        ((ImageWork(729, 9_477),), 0, 2371),  # its encoder is the work
        ((ImageWork(64), ImageWork(1280)), 40, 1355),
    ],
)
def test_images_and_text_add_up(images: tuple[ImageWork, ...], text_tokens: int, tokens: int):
    assert demand_of(Work(images=images, text_tokens=text_tokens, output_tokens=512), "t") == Demand(
        "t", tokens, sum(image.vision_tokens for image in images)
    )
