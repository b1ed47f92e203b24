from decimal import Decimal
from pathlib import Path

import pytest

from benchmarks.gpu import SUBJECTS, Crowd, Result, Subject, render, subject_card
from calibration.calibration import Plan, concluded
from calibration.price import Rented, Terms
from calibration.search import Point
from calibration.workload import standard
from deployments.engines.environment import EngineEnvironment
from deployments.engines.launch import Place
from deployments.engines.started import LAUNCHERS
from loadtests.slo import Slo
from loadtests.stream import Measured

WEIGHTS = Path("/weights")
INTERNVL2_ON_VLLM = Subject("internvl2-2b", "vllm", "0.32.0")


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("subject", SUBJECTS, ids=str)
def test_every_subject_is_started_as_a_replica_starts_it(subject: Subject, tiny: bool):
    """By the launcher of its engine, from its own card, with the weights that were made up."""
    card = subject_card(subject, WEIGHTS, tiny=tiny)
    environment = EngineEnvironment(Path("python"), subject.version, "cpu" if tiny else "gpu")
    words = LAUNCHERS[subject.engine](card, environment, Place("127.0.0.1", 1, "", WEIGHTS)).command
    assert str(WEIGHTS) in words
    assert ("dummy" in words) is ("qwen" in subject.model)
    assert ("--trust-remote-code" in words) is ("internvl2" in subject.model)
    assert ("bfloat16" in words) is not tiny


def test_a_model_is_measured_on_the_engine_that_its_card_does_not_name():
    assert subject_card(INTERNVL2_ON_VLLM, WEIGHTS, tiny=False).engine.name == "vllm"


def test_the_report_has_both_tables():
    """Speed by clients; the measured price beside the card's."""
    card = subject_card(INTERNVL2_ON_VLLM, WEIGHTS, tiny=False)
    rented = Rented("NVIDIA H200", Decimal("4.59"))
    plan = Plan(card, standard(card), Slo(2000, 100, 0.99), rented, Terms())
    points = [Point(8, 1.0, True, 8.1, 400, 20, 1), Point(8.5, 0.5, False, 7.9, 4000, 90, 1)]
    crowd = Crowd(4, 2.0, [Measured(100 * n, 900, 150) for n in range(1, 5)])
    page = render([Result(INTERNVL2_ON_VLLM, [crowd], 12.5, concluded(plan, points, "2026-11-21"))], rented)
    assert "| internvl2-2b on vllm | 4 | 2.00 | 250 | 400 |" in page
    assert (
        "| 12.5 | 8.00 | TTFT 2000 ms, TPOT 100 ms, for 99.0% | 0.427191 | 0.626 (estimate) | 1.47 times too high |"
        in page
    )
