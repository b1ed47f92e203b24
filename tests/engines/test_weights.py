"""Weights from the checkout and a hub; S3 has a test of its own."""

import pytest

from catalog.card import Source
from deployments.engines.s3_weights import WeightsError
from deployments.engines.weights import locate


def test_a_path_starts_at_the_checkout(tmp_path):
    """Weights in the repository are used where they are."""
    (tmp_path / "demo").mkdir()
    assert locate(Source(path="demo"), tmp_path, tmp_path / "cache") == tmp_path / "demo"


def test_a_path_without_weights_is_refused(tmp_path):
    """The message names the field to correct."""
    with pytest.raises(WeightsError, match=r"source\.path"):
        locate(Source(path="nowhere"), tmp_path, tmp_path)


def test_a_hub_id_is_left_to_the_engine(tmp_path):
    """Engines resolve hub ids themselves, with the card's revision."""
    assert locate(Source(hub="a/b", revision="c0ffee"), tmp_path, tmp_path) == "a/b"
