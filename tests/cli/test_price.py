from pathlib import Path

import pytest

from tests.cli.conftest import Vlmfleet


def test_an_image_of_any_model_has_a_price(vlmfleet: Vlmfleet):
    """Deployed or not; nothing has to run for it."""
    ended = vlmfleet("price", "qwen2-vl-7b-instruct", "--size", "1280x720", "--json")
    assert ended.status == 0
    assert ended.json | {"source": ""} == {
        "model": "qwen2-vl-7b-instruct",
        "vision_tokens": 1_196,
        "encoder_patches": 4_784,
        "units": 1,
        "amount_nano": 1_341_000,
        "amount_usd": "0.001341",
        "state": "estimate",
        "source": "",
    }


@pytest.mark.parametrize(("detail", "units"), [("low", 1), ("auto", 1), ("high", 3)])
def test_detail_is_as_in_a_request(vlmfleet: Vlmfleet, detail: str, units: int):
    """InternVL2 at 640x480: one tile, or 13."""
    ended = vlmfleet("price", "OpenGVLab/InternVL2-2B", "--size", "640x480", "--detail", detail, "--json")
    assert ended.json["units"] == units


def test_people_get_a_table(vlmfleet: Vlmfleet):
    """With where the price is from."""
    ended = vlmfleet("price", "moondream2", "--size", "640x480")
    assert "6561" in ended.out
    assert "list price of the 2-3B class" in ended.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gpt-5", "--size", "1x1"], "no card is named 'gpt-5'"),
        (["moondream2", "--size", "640"], "give width and height in pixels"),
        (["moondream2", "--size", "0x480"], "give width and height in pixels"),
        (["qwen2-vl-2b-instruct", "--size", "5601x28"], "refuses an image of 5601x28: one side is more than 200 times"),
    ],
)
def test_what_has_no_price_is_told_in_one_line(vlmfleet: Vlmfleet, words: list[str], says: str):
    """With what to write instead."""
    ended = vlmfleet("price", *words)
    assert (ended.status, ended.out) == (1, "")
    assert says in ended.err


def test_cards_may_lie_elsewhere(vlmfleet: Vlmfleet, tmp_path: Path):
    """As for the fleet itself."""
    ended = vlmfleet("price", "demo", "--size", "1x1", "--cards", str(tmp_path))
    assert "holds no cards" in ended.err
