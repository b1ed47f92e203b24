"""What is left out of the measured gateway is called as the real part is."""

import inspect

import pytest

from benchmarks.batching_gateway import LocalRouter, Uncounted
from deployments.gateway.metrics import Metrics
from deployments.gateway.route import Router


@pytest.mark.parametrize(("played", "real"), [(Uncounted, Metrics), (LocalRouter, Router)])
def test_played_parts_have_the_signatures_of_the_real_ones(played: type, real: type):
    methods = [name for name, _ in inspect.getmembers(real, inspect.isfunction) if not name.startswith("_")]
    assert methods
    for name in methods:
        assert list(inspect.signature(getattr(played, name)).parameters) == list(
            inspect.signature(getattr(real, name)).parameters
        )
