import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from calibration.measurement import REQUESTS_MIN, WARM_UP_REQUESTS
from catalog.catalog import CARDS, load_card
from tests.calibration.scripted import right, serving
from tests.cli.conftest import Vlmfleet

REFUSED = 429, b'{"error": {"message": "overloaded"}}'
# A server that is as fast as it likes: what ends the search is that it refuses.
QUICK = ["--start", "20", "--seconds", "1", "--slo", "ttft=60000,tpot=60000", "--gpu", "NVIDIA L4"]


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    folder.mkdir()
    shutil.copy(CARDS / "qwen2-vl-2b-instruct.yaml", folder)
    return folder


@pytest.fixture
def server() -> Iterator[str]:
    """One step at 20 images/s is answered whole; of what follows, every second request is refused."""
    answered = WARM_UP_REQUESTS + REQUESTS_MIN
    with serving(lambda n: (200, right(150)) if n < answered or n % 2 else REFUSED) as url:
        yield url


def test_a_measured_price_is_written_into_the_card(vlmfleet: Vlmfleet, server: str, cards: Path):
    """The next version, with its conditions; $0.80 an hour are a L4's."""
    file = cards / "qwen2-vl-2b-instruct.yaml"
    before = load_card(file)
    ended = vlmfleet("calibrate", before.id, "--url", server, "--cards", str(cards), "--write", "--json", *QUICK)
    assert ended.status == 0, ended.err
    price = load_card(file).price
    assert (price.version, price.state) == (before.price.version + 1, "measured")
    assert price.unit_nano == 29783  # 0.8 / 3600 / (20 * 0.5 * 0.97) * 1.3, rounded up
    assert str(price.basis.images_per_s) == "20.000"
    assert ended.json["usd_per_1k_images"] == "0.029783"
    assert ended.json["usd_per_1k_images_before"] == "0.626"
    assert ended.json["off_by"] == "21.02 times too high"


def test_people_get_the_block_for_the_card(vlmfleet: Vlmfleet, server: str, cards: Path):
    """And the card's file stays as it is."""
    file = cards / "qwen2-vl-2b-instruct.yaml"
    before = file.read_bytes()
    ended = vlmfleet("calibrate", "qwen2-vl-2b-instruct", "--url", server, "--cards", str(cards), *QUICK)
    assert "price:\n  version: 2\n  state: measured\n" in ended.out
    assert "20.00 images/s: 100.0% within the SLO" in ended.err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gpt-5"], "no card is named 'gpt-5'"),
        (["qwen2-vl-2b-instruct", "--url", "http://127.0.0.1:1"], "say with --gpu what the server"),
        (["qwen2-vl-2b-instruct", "--url", "http://127.0.0.1:1", "--gpu", "NVIDIA H200"], "give its own with --usd-per-hour"),
        (["demo", "--url", "http://127.0.0.1:1", "--gpu", "CPU"], "does not answer the standard request"),
        (["demo", "--url", "x", "--gpu", "CPU", "--margin", "a third"], "--margin is 'a third'"),
        (["demo", "--url", "x", "--gpu", "CPU", "--utilisation", "1.5"], "the utilisation is above 0"),
        (["demo", "--url", "x", "--gpu", "CPU", "--slo", "fast"], "an SLO looks like"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_told_in_one_line(vlmfleet: Vlmfleet, words: list[str], says: str):
    """With what to write instead."""
    ended = vlmfleet("calibrate", *words)
    assert (ended.status, ended.out) == (1, "")
    assert says in ended.err


def test_a_card_that_cannot_be_written_is_told_before_it_is_measured(vlmfleet: Vlmfleet, cards: Path):
    (cards / "qwen2-vl-2b-instruct.yaml").rename(cards / "another.yaml")
    ended = vlmfleet("calibrate", "qwen2-vl-2b-instruct", "--url", "x", "--gpu", "x", "--cards", str(cards), "--write")
    assert "name it after the served name" in ended.err
