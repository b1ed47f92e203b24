"""What is measured is `serve.yaml` as it is, but for the model."""

import yaml

from benchmarks.stacks import CARDS, CHECKOUT, MODEL, one_model
from catalog import load_catalog


def test_one_model_takes_the_place_of_the_demos():
    """Its own application is left, and everything that names models names it alone."""
    text = one_model((CHECKOUT / "serve.yaml").read_text(), "bench")
    config = yaml.safe_load(text)
    assert "demo" not in text
    assert [app["args"] for app in config["applications"] if "model" in app["args"]] == [{"model": "bench"}]
    assert [app["args"]["models"] for app in config["applications"] if "models" in app["args"]] == [["bench"]] * 4


def test_the_benchmark_has_a_card_of_its_own():
    """It is read as any other, so a field that cards get later is not forgotten in it."""
    assert [card.served_name for card in load_catalog(CARDS)] == [MODEL]
