from datetime import date

import pytest

from catalog import load_catalog
from catalog.card import Shutdown
from deployments.gateway.errors import ModelNotDeployed, ModelNotFound
from deployments.gateway.models import deployed, model_object

CATALOG = load_catalog()
CARD = CATALOG.find("demo-qwen2-vl")
MODEL = model_object(CARD)


def test_openais_fields_come_first():
    """OpenAI's clients find a model by these four."""
    assert list(MODEL)[:4] == ["id", "object", "created", "owned_by"]
    # 2026-11-01T00:00:00Z
    assert (MODEL["id"], MODEL["object"], MODEL["created"], MODEL["owned_by"]) == (
        "demo-qwen2-vl", "model", 1_793_491_200, "vlmfleet",
    )  # fmt: skip


def test_the_price_is_printed_from_the_integer():
    """$0.01 for a thousand images is 10,000 nano-dollars an image: decimals as strings, no exponent."""
    assert MODEL["pricing"] == {"image": "0.00001", "prompt": "0", "completion": "0", "request": "0"}
    assert (MODEL["price_per_1k_images"], MODEL["batch_price_per_1k_images"]) == ("0.01", "0.005")


def test_a_price_stands_beside_its_conditions():
    """An estimate says that it is one."""
    assert MODEL["price_version"] == CARD.price.version
    assert MODEL["price_basis"]["kind"] == "estimate"
    assert MODEL["price_basis"]["source"] == CARD.price.basis.source


def test_every_parameter_of_the_card_is_listed():
    """What is listed is what a request may carry."""
    assert set(CARD.supported_parameters) < set(MODEL["supported_parameters"])
    assert MODEL["aliases"] == ["demo", "vlmfleet/demo-qwen2-vl"]


def test_a_model_without_images_says_so():
    """Modalities follow from the card's inputs."""
    blind = CARD.model_copy(update={"inputs": CARD.inputs.model_copy(update={"images_max": 0})})
    assert model_object(CARD)["architecture"]["input_modalities"] == ["text", "image"]
    assert model_object(blind)["architecture"]["modality"] == "text->text"


def test_a_licence_is_shown_with_its_conditions():
    """Only what the card says: a plain licence is its name."""
    assert MODEL["licence"] == {"name": "Apache-2.0", "hosted_api": "yes"}
    shown = model_object(CATALOG.find("paligemma-3b-mix-448"))["licence"]
    assert (shown["hosted_api"], shown["gated_download"], len(shown["conditions"])) == ("conditional", True, 2)


def test_a_models_end_is_told_where_it_is_known():
    """With what to use instead."""
    ending = CARD.model_copy(update={"shutdown": Shutdown(date=date(2027, 3, 1), successor="internvl2-2b")})
    shown = model_object(ending)
    assert (shown["expiration_date"], shown["successor"]) == ("2027-03-01", "internvl2-2b")
    assert "expiration_date" not in MODEL


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("qwen2-vl-7b-instruct", ModelNotDeployed), ("llava-1.5-7b", ModelNotDeployed), ("gpt-5", ModelNotFound)],
)
def test_a_model_that_could_be_deployed_is_told_from_an_unknown_one(name: str, refusal: type[ModelNotFound]):
    """By any of its names; both are 404."""
    part = CATALOG.pick(["demo"])
    assert deployed(part, "demo") is CARD
    with pytest.raises(ModelNotFound) as refused:
        deployed(part, name)
    assert type(refused.value) is refusal
