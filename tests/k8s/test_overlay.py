"""An overlay's folder: adding a model is adding a card."""

import shutil
from pathlib import Path

import pytest
import yaml

from catalog import load_catalog
from catalog.catalog import CARDS
from deployments.kubernetes.changes import Effect, changes_of
from deployments.kubernetes.overlay import FleetError, render, write
from tests.k8s.manifests import golden, manifests, one

FLEET = """
models: every
images: {vllm: {image: registry.example.com/vllm, version: 0.32.0}}
accelerators: {L4: {cpus: 6, memory_gib: 24, scratch_gib: 80, accelerators_max: 24}}
gateway: {replicas: 1, replicas_per_node_max: 1}
"""


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A catalog of one."""
    folder = tmp_path / "cards"
    folder.mkdir()
    shutil.copy(CARDS / "qwen2-vl-2b-instruct.yaml", folder)
    return folder


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "fleet.yaml").write_text(FLEET)
    return folder


def add_card(cards: Path, kind: str = "L4") -> None:
    """A model that nobody has seen before."""
    card = yaml.safe_load((CARDS / "smolvlm2-2.2b-instruct.yaml").read_text())
    card |= {"id": "acme/new-vlm", "served_name": "new-vlm", "aliases": []}
    card["accelerators"]["kind"] = kind
    (cards / "new-vlm.yaml").write_text(yaml.safe_dump(card))


def test_adding_a_model_is_adding_a_card(overlay: Path, cards: Path):
    """It gets an application, its pool grows, and every other application stays as it is, but for those that list models."""
    write(overlay, render(overlay, cards))
    before = yaml.safe_load((overlay / "serve-config.yaml").read_text())["applications"]
    add_card(cards)
    write(overlay, render(overlay, cards))
    after = {each["name"]: each for each in yaml.safe_load((overlay / "serve-config.yaml").read_text())["applications"]}
    assert after["model-new-vlm"]["args"]["model"] == "new-vlm"
    assert after["gateway"]["args"]["models"] == ["new-vlm", "qwen2-vl-2b-instruct"]
    engines = [each for each in before if each["name"].startswith("model-")]
    assert engines == [after[each["name"]] for each in engines]
    assert "new-vlm.yaml" in yaml.safe_load((overlay / "cards.yaml").read_text())["data"]


def ray_service(overlay: Path) -> list[dict]:
    """What KubeRay gets of an overlay's groups."""
    groups = [step["value"] for step in yaml.safe_load((overlay / "worker-groups.yaml").read_text())]
    cluster = {"workerGroupSpecs": groups}
    return [{"kind": "RayService", "metadata": {"name": "vlmfleet"}, "spec": {"rayClusterConfig": cluster}}]


@pytest.mark.parametrize(("kind", "effect"), [("L4", Effect.IN_PLACE), ("A100-80", Effect.APPEND_GROUP)])
def test_adding_a_model_is_no_new_cluster(overlay: Path, cards: Path, kind: str, effect: Effect):
    """Neither on a pool that is there, which grows, nor on a new one."""
    machine = "{cpus: 6, memory_gib: 24, scratch_gib: 80, accelerators_max: 24}"
    (overlay / "fleet.yaml").write_text(FLEET.replace("{L4:", f"{{A100-80: {machine}, L4:"))
    write(overlay, render(overlay, cards))
    before = ray_service(overlay)
    add_card(cards, kind)
    write(overlay, render(overlay, cards))
    assert [change.effect for change in changes_of(before, ray_service(overlay))] == [effect]


def test_the_cards_reach_the_pods_as_they_are(overlay: Path, cards: Path):
    """Byte for byte, and only the fleet's."""
    add_card(cards)
    (overlay / "fleet.yaml").write_text(FLEET.replace("every", "[new-vlm]"))
    (cards_of_pods,) = manifests(render(overlay, cards).files["cards.yaml"])
    assert cards_of_pods["data"] == {"new-vlm.yaml": (cards / "new-vlm.yaml").read_text()}


def test_the_cards_in_a_render_are_cards(tmp_path: Path):
    """What a pod reads from its volume is what the catalog reads."""
    for name, text in one(golden("prod"), "ConfigMap", "vlmfleet-cards")["data"].items():
        (tmp_path / name).write_text(text)
    assert len(load_catalog(tmp_path).cards) > 10


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("modles: every", "modles"),
        ("models: [b]\nwithout: [a]", "without"),
        ("deadline_s: 900", "deadline_s"),
        ("gateway: {replicas: 2, replicas_per_node_max: 1}", "files"),
        ("files: /mnt/files", "files"),
        ("a: [", "not YAML"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(overlay: Path, cards: Path, line: str, fault: str):
    """With the file and the field."""
    (overlay / "fleet.yaml").write_text(FLEET + line)
    with pytest.raises(FleetError, match=rf"fleet\.yaml: .*{fault}"):
        render(overlay, cards)


@pytest.mark.parametrize(
    ("field", "value", "replaced"),
    [
        ("title", "A new title", {"gateway", "batches", "scaling"}),
        ("context_tokens", 3000, {"model-new-vlm", "gateway", "batches", "scaling"}),
        ("price", 2, {"gateway", "batches", "scaling", "ledger"}),
    ],
)
def test_a_changed_card_replaces_who_reads_the_change(
    overlay: Path, cards: Path, field: str, value: object, replaced: set[str]
):
    """Serve replaces an application when its entry differs, and only then. No engine starts anew for a title."""
    add_card(cards)
    before = serve_config(render(overlay, cards).files)
    card = yaml.safe_load((cards / "new-vlm.yaml").read_text())
    card[field] = card["price"] | {"version": value} if field == "price" else value
    (cards / "new-vlm.yaml").write_text(yaml.safe_dump(card))
    after = serve_config(render(overlay, cards).files)
    assert {name for name in before if before[name] != after[name]} == replaced


def serve_config(files: dict[str, str]) -> dict[str, dict]:
    return {each["name"]: each for each in yaml.safe_load(files["serve-config.yaml"])["applications"]}


def test_the_pool_has_the_accelerators_of_the_fleet(overlay: Path, cards: Path):
    """And its ceiling in dollars, and who comes first, where the fleet names them."""
    assert serve_config(render(overlay, cards).files)["scaling"]["args"]["gpus"] == {"L4": 24}
    more = "usd_per_hour_max: 12.5\npriorities: {qwen2-vl-2b-instruct: 2}\n"
    (overlay / "fleet.yaml").write_text(FLEET + more)
    arguments = serve_config(render(overlay, cards).files)["scaling"]["args"]
    assert (arguments["usd_per_hour_max"], arguments["priorities"]) == (12.5, {"qwen2-vl-2b-instruct": 2})
