"""Every card of the catalog with a tiny checkpoint of its architecture: cards that differ in size only share one."""

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from catalog import ModelCard, load_catalog
from catalog.vision import InternVl2, PaliGemma, SmolVlm2
from tests.models.internvl2 import HERE, run_in, write_weights
from tests.models.running import environment_of

CHECKOUT = Path(__file__).parents[2]
# What a card says for its GPU, and what a CPU has instead.
GPU_OPTIONS = frozenset({"dtype", "gpu-memory-utilization", "cache-max-entry-count", "enable-prefix-caching"})
CPU_OPTIONS: dict[str, dict[str, Any]] = {
    "vllm": {"dtype": "float32", "enforce-eager": True},
    "lmdeploy": {},
    "transformers": {"dtype": "float32"},
}
# Its architecture is its publisher's code, which is not here; see `tests/engines/test_transformers_moondream.py`.
NOT_HERE = frozenset({"moondream2"})
# No library but vLLM has the architecture, so vLLM makes up the weights.
DUMMY = frozenset({"moondream3"})


@dataclass(frozen=True)
class Family:
    """Cards with one architecture and one set of limits; the first stands for all."""

    cards: tuple[ModelCard, ...]

    def __str__(self) -> str:
        return self.cards[0].served_name

    @property
    def card(self) -> ModelCard:
        """The first, as it runs on this machine."""
        card = self.cards[0]
        kept = {name: value for name, value in card.engine.options.items() if name not in GPU_OPTIONS}
        if card.vision.family in DUMMY:
            kept["load-format"] = "dummy"
        engine = {"options": kept | CPU_OPTIONS[card.engine.name], "environment": {"OMP_NUM_THREADS": "1"}}
        changes = {
            "source": {"path": card.source.path or "/written/by/the/tests"},
            "engine": card.engine.model_dump() | engine,
            "accelerators": {"kind": "cpu", "count": 0, "usd_per_hour": "0.05"},
        }
        return ModelCard.model_validate(card.model_dump() | changes)

    def weights(self, folder: Path) -> Path:
        """The card's own, if they are in the checkout; else tiny ones, written into `folder`."""
        card = self.cards[0]
        if card.source.path:
            return CHECKOUT / card.source.path
        environment = environment_of(card)
        if isinstance(card.vision, InternVl2):
            write_weights(environment, folder)
            return folder / "original"
        name, settings = _builder(card)
        run_in(environment, HERE / "tiny_vlms", name, str(folder), json.dumps(settings))
        return folder


def families() -> list[Family]:
    """Of all cards whose architecture can be written here."""
    cards = sorted(
        (card for card in load_catalog() if card.vision.family not in NOT_HERE),
        key=lambda card: (_likeness(card), card.served_name),
    )
    return [Family(tuple(alike)) for _, alike in groupby(cards, key=_likeness)]


def _likeness(card: ModelCard) -> str:
    limits = [card.context_tokens, card.inputs.model_dump_json(), card.vision.model_dump_json()]
    return repr([card.engine.name, card.engine.version, card.source.path, _builder(card), limits])


def _builder(card: ModelCard) -> tuple[str, dict[str, Any]]:
    """A module of `tiny_vlms`, and the settings that it takes."""
    match card.vision:
        case PaliGemma() as vision:
            return "paligemma", {"side_px": vision.input_px, "generation": 2 if "paligemma2" in card.served_name else 1}
        case SmolVlm2() as vision:
            return "smolvlm2", vision.model_dump(exclude={"family"})
        case vision:
            return vision.family, {}
