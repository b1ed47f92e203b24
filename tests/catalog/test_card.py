from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.card import Accelerators, CardPrice, ModelCard
from catalog.catalog import CARDS, CardError, load_card

DEMO = CARDS / "demo-qwen2-vl.yaml"
PRICE = {
    "version": 1,
    "state": "estimate",
    "usd_per_1k_images": "1.341",
    "batch_usd_per_1k_images": "0.6705",
    "basis": {"source": "a test", "date": "2026-11-21"},
}
MISSING = object()

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Write the demo card with one field set to a value, or removed, and return the file."""

    def edit(field: str, value: Any) -> Path:
        card = yaml.safe_load(DEMO.read_text())
        *path, last = field.split(".")
        part = card
        for name in path:
            part = part[name]
        if value is MISSING:
            del part[last]
        else:
            part[last] = value
        file = tmp_path / "edited.yaml"
        file.write_text(yaml.safe_dump(card))
        return file

    return edit


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("titel", "Demo", "titel: no such field; remove it or correct its name"),
        ("limits.output_tokens", 1, "limits.output_tokens: no such field; remove it or correct its name"),
        ("title", MISSING, "title: missing; add it"),
        ("price", MISSING, "price: missing; add it"),
        ("served_name", "Demo VL", "served_name: String should match pattern"),
        ("source", {}, "source: give exactly one of path, hub and s3"),
        ("source", {"path": "a", "s3": "s3://b"}, "source: give exactly one of path, hub and s3"),
        ("source", {"hub": "Qwen/Qwen2-VL-2B-Instruct"}, "source: a hub model needs a revision"),
        ("source", {"s3": "https://b"}, "source.s3: String should match pattern '^s3://'"),
        ("licence.hosted_api", "perhaps", "licence.hosted_api: Input should be 'yes', 'conditional' or 'no'"),
        ("licence.hosted_api", "no", "licence: hosted_api is 'no': say why in conditions"),
        ("engine.name", "llama.cpp", "engine.name: Input should be 'vllm', 'lmdeploy' or 'transformers'"),
        ("engine.sequences_max", 0, "engine.sequences_max: Input should be greater than 0"),
        ("accelerators.count", 1, "accelerators: count is 0 for kind cpu, and at least 1 for a GPU"),
        ("accelerators.kind", "h100", "accelerators: count is 0 for kind cpu, and at least 1 for a GPU"),
        ("accelerators.usd_per_hour", MISSING, "accelerators.usd_per_hour: missing; add it"),
        ("accelerators.usd_per_hour", "-1", "accelerators.usd_per_hour: Input should be greater than or equal to 0"),
        (
            "accelerators.usd_per_hour",
            "0.0000000001",
            "accelerators.usd_per_hour: Decimal input should have no more than 9",
        ),
        ("accelerators.usd_per_hour", "NaN", "accelerators.usd_per_hour: Input should be a finite number"),
        ("context_tokens", "many", "context_tokens: Input should be a valid integer"),
        ("vocabulary_tokens", MISSING, "vocabulary_tokens: missing; add it"),
        ("supported_parameters", ["tools"], "the card: supported_parameters promises tools, but"),
        ("limits.output_tokens_default", 513, "limits: output_tokens_default is above output_tokens_max"),
        ("vision.family", "qwen9", "vision: Input tag 'qwen9' found using 'family' does not match any of the expected"),
        ("vision.family", MISSING, "vision: Unable to extract tag using discriminator 'family'"),
        ("vision.tiles_max", 12, "vision.qwen2_vl.tiles_max: no such field; remove it or correct its name"),
        ("vision.pixels_min", 12545, "vision.qwen2_vl: pixels_min is above pixels_max"),
        (
            "vision",
            {"family": "paligemma", "input_px": 300},
            "vision.paligemma.input_px: Input should be 224, 448 or 896",
        ),
        ("size", {"parameters": 7}, "size.kv_layers: missing; add it"),
        ("grounding", {"format": "xml"}, "grounding.format: Input should be 'qwen2_vl'"),
        ("chat", {"sends": "all"}, "chat.sends: Input should be 'conversation' or 'last_user_text'"),
        ("shutdown", {"date": "soon"}, "shutdown.date: Input should be a valid date"),
        ("updated", "2025-13", "updated: String should match pattern"),
        ("price.version", 0, "price.version: Input should be greater than 0"),
        ("price.state", "guess", "price.state: Input should be 'estimate' or 'measured'"),
        ("price.usd_per_1k_images", "0.0000001", "price.usd_per_1k_images: Decimal input should have no more than 6"),
        ("price.usd_per_1k_images", "-1", "price.usd_per_1k_images: Input should be greater than or equal to 0"),
        ("price.usd_per_1m_text_tokens", "0.0001", "price: usd_per_1m_text_tokens has at most three decimals"),
        ("price.usd_per_1m_output_tokens", "0.0001", "price: usd_per_1m_output_tokens has at most three decimals"),
        ("autoscaling.replicas_min", 2, "autoscaling: replicas_min is above replicas_max"),
    ],
)
def test_a_bad_card_is_refused(edited: Edit, field: str, value: Any, fault: str):
    """The message names the file, the field and what it should be."""
    file = edited(field, value)
    with pytest.raises(CardError) as refusal:
        load_card(file)
    assert str(refusal.value).startswith(f"{file}: {fault}")


def test_every_fault_is_named_at_once(edited: Edit):
    """Nobody should have to correct a card one run at a time."""
    file = edited("limits", {"output_tokens_max": 0, "pixels": 1})
    with pytest.raises(CardError) as refusal:
        load_card(file)
    assert str(refusal.value) == (
        f"{file}: limits.output_tokens_max: Input should be greater than 0; "
        "limits.output_tokens_default: missing; add it; "
        "limits.pixels: no such field; remove it or correct its name"
    )


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("1.341", 1_341_000),
        (1.341, 1_341_000),  # an unquoted number of YAML is read by its digits, not by its binary value
        ("0.6705", 670_500),
        ("0.000001", 1),
        (0.29, 290_000),  # 0.29 * 1,000,000 is 289,999.99... in floats
        (0, 0),
        ("9000000.000001", 9_000_000_000_001),
    ],
)
def test_a_price_for_1000_images_is_exact_in_nano_dollars(usd: str | float, nano: int):
    """One image costs a thousandth of it: $1.341 / 1,000 = 1,341,000 nano-dollars."""
    price = CardPrice.model_validate(PRICE | {"usd_per_1k_images": usd, "batch_usd_per_1k_images": usd})
    assert price.unit_nano == price.batch_unit_nano == nano


@pytest.mark.parametrize(("usd", "nano"), [("0", 0), ("0.001", 1), (0.29, 290), ("2.5", 2_500)])
def test_a_price_for_1000000_tokens_is_exact_in_nano_dollars(usd: str | float, nano: int):
    """One token costs a millionth of it: $2.50 / 1,000,000 = 2,500 nano-dollars."""
    price = CardPrice.model_validate(PRICE | {"usd_per_1m_text_tokens": usd, "usd_per_1m_output_tokens": usd})
    assert price.text_token_nano == price.output_token_nano == nano


def test_tokens_are_free_unless_priced():
    """What a price does not mention costs nothing; images are always mentioned."""
    price = CardPrice.model_validate(PRICE)
    assert (price.text_token_nano, price.output_token_nano) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "count", "usd", "nano"),
    [
        ("cpu", 0, "0.05", 50_000_000),  # a share of the machine counts once
        ("h200", 1, "4.59", 4_590_000_000),
        ("h200", 8, 4.59, 36_720_000_000),  # 8 * 4.59
        ("h200", 3, "0.000000001", 3),
        ("h200", 1, "0", 0),  # our own machines may be free
    ],
)
def test_the_rent_of_a_replica_is_exact_in_nano_dollars(kind: str, count: int, usd: str | float, nano: int):
    """The rate of one accelerator, times as many as the replica occupies."""
    accelerators = Accelerators.model_validate({"kind": kind, "count": count, "usd_per_hour": usd})
    assert accelerators.rent_nano_per_hour == nano


def test_a_model_answers_to_all_its_names():
    """Clients may ask by id, served name or alias."""
    card = ModelCard.model_validate(yaml.safe_load(DEMO.read_text()))
    assert card.names == {"vlmfleet/demo-qwen2-vl", "demo-qwen2-vl", "demo"}
