"""The rendered manifests on one machine, under load: engines land on their groups, and what operators do costs no request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import openai
import pytest

from demo.generate import HELD_OUT_SEED, examples
from tests.e2e.cluster import about, wait_until
from tests.e2e.load import Question, Seen, asking_all_the_time, questions
from tests.e2e.raylets import Placement
from tests.e2e.rendered import Fleet, Folders, card, running

pytestmark = pytest.mark.engine

# Two pools of GPUs that are only counted; the engines' own builds are those for the CPU.
FLEET = """
models: every
images:
  transformers: {image: registry.example.com/transformers, version: 5.19.0}
  vllm: {image: registry.example.com/vllm, version: 0.32.0}
accelerators:
  L4: {cpus: 1, memory_gib: 4, scratch_gib: 10, accelerators_max: 3}
  A100-80: {cpus: 1, memory_gib: 4, scratch_gib: 10, accelerators_max: 1}
gateway: {replicas: 1, replicas_per_node_max: 1}
ledger_writers: 1
deadline_s: 60
"""
SMALL, LARGE, ADDED = "demo-small", "demo-large", "demo-added"
TWO = {"autoscaling": {"replicas_min": 2, "replicas_max": 2}}
ON_VLLM = {
    "name": "vllm",
    "version": "0.32.0",
    "sequences_max": 8,
    "options": {"dtype": "float32", "enforce-eager": True},
}
MODELS = {SMALL: card(SMALL, "L4", **TWO), LARGE: card(LARGE, "A100-80", engine=ON_VLLM)}
UPGRADED = MODELS | {SMALL: card(SMALL, "L4", **TWO, title="Demo, upgraded", context_tokens=1024)}
EXTRA = {ADDED: card(ADDED, "L4")}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres: Callable[[], str]) -> Iterator[Fleet]:
    """With PostgreSQL, as in production."""
    folders = Folders(*(tmp_path_factory.mktemp(name) for name in ("overlay", "cards", "home")))
    (folders.overlay / "fleet.yaml").write_text(FLEET)
    folders.render(MODELS)
    with running(folders, postgres()) as started:
        yield started


@pytest.fixture(scope="module")
def placed(fleet: Fleet) -> Placement:
    """Every group got a pod, and the pool with two replicas a second one."""
    fleet.do("add", "transformers-l4")
    return fleet.deploy()


@pytest.fixture(scope="module")
def asked(fleet: Fleet, placed: object) -> list[Question]:
    """Thirty questions and their answers in peace."""
    return questions(fleet.url, fleet.key, SMALL, list(examples(HELD_OUT_SEED, 30)))


@contextmanager
def load(fleet: Fleet, asked: list[Question]) -> Iterator[Seen]:
    """Some answers before what happens, and some after."""
    with asking_all_the_time(fleet.url, fleet.key, SMALL, asked) as seen:
        wait_until(lambda: seen.asked >= 20)
        yield seen
        after = seen.asked + 20
        wait_until(lambda: seen.asked >= after)


def test_each_engine_lands_on_its_group(placed):
    """By label alone: all ask for one GPU, and every node has one."""
    engines = {name: pools for name, pools in placed.items() if name.startswith("Engine-")}
    assert engines == {"Engine-demo-small": ["transformers-l4"] * 2, "Engine-demo-large": ["vllm-a100-80"]}
    assert {pool for name, pools in placed.items() if name not in engines for pool in pools} == {"gateway"}


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_each_model_answers(fleet, placed, model):
    """Through the gateway's node, from the engine's."""
    (question,) = questions(fleet.url, fleet.key, model, list(examples(HELD_OUT_SEED, 1)))
    assert question.answer == question.example.answer


def test_a_node_is_drained_without_a_failed_request(fleet, asked):
    with load(fleet, asked) as seen:
        fleet.do("add", "transformers-l4")
        fleet.do("drain", "transformers-l4")
    assert (seen.errors, seen.wrong) == ([], [])


def test_a_model_is_upgraded_without_a_failed_request(fleet, asked):
    with load(fleet, asked) as seen:
        fleet.folders.render(UPGRADED)
        fleet.deploy()
    assert (seen.errors, seen.wrong) == ([], [])
    with openai.OpenAI(base_url=fleet.url, api_key=fleet.key) as client:
        assert client.models.retrieve(SMALL).model_dump()["name"] == "Demo, upgraded"


def test_a_model_is_added_without_a_failed_request(fleet, asked):
    with load(fleet, asked) as seen:
        fleet.do("add", "transformers-l4")
        fleet.folders.render(UPGRADED | EXTRA)
        fleet.deploy()
        assert questions(fleet.url, fleet.key, ADDED, [asked[0].example])[0].answer == asked[0].answer
    assert (seen.errors, seen.wrong) == ([], [])


def test_a_model_is_removed_without_a_failed_request(fleet, asked):
    with load(fleet, asked) as seen:
        fleet.folders.render(UPGRADED)
        fleet.deploy()
    assert (seen.errors, seen.wrong) == ([], [])
    with openai.OpenAI(base_url=fleet.url, api_key=fleet.key) as client, pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**about(asked[0].example, ADDED))


def test_the_control_service_restarts_without_a_failed_request(fleet, asked):
    """Redis keeps what it knew."""
    with load(fleet, asked) as seen:
        fleet.do("restart_gcs")
    assert (seen.errors, seen.wrong) == ([], [])


def test_a_killed_node_takes_at_most_what_it_worked_on(fleet, asked):
    """Each client had at most one request there. What failed says so, and no hold stays open."""
    with load(fleet, asked) as seen:
        fleet.do("kill", "transformers-l4")
    assert seen.wrong == []
    assert len(seen.errors) <= 3
    assert all("Nothing was charged" in error for error in seen.errors), seen.errors
    wait_until(lambda: fleet.open_holds() == 0)


def test_the_ledger_verifies_afterwards(fleet, asked):
    """Every answer was charged, and every request has its row."""
    assert fleet.verified() == "every invariant holds\n"
