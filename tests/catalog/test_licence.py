import pytest

from catalog import CardError, load_catalog
from catalog.licence import check_licence

CATALOG = load_catalog()
RESEARCH_ONLY = CATALOG.find("qwen2.5-vl-3b-instruct")


@pytest.mark.parametrize("model", ["qwen2-vl-7b-instruct", "paligemma-3b-mix-448"])
def test_a_licence_that_allows_or_limits_a_paid_api_lets_the_model_start(model: str):
    """What it asks for is for the operator to keep to, and is shown with the model."""
    check_licence(CATALOG.find(model), accepted=[])


@pytest.mark.parametrize("model", ["qwen2.5-vl-3b-instruct", "moondream3-preview"])
def test_a_licence_that_forbids_one_does_not(model: str):
    """The message says which licence, why, and how to start it all the same."""
    card = CATALOG.find(model)
    with pytest.raises(CardError) as refusal:
        check_licence(card, accepted=["another-model"])
    message = str(refusal.value)
    assert card.licence.name in message
    assert all(condition in message for condition in card.licence.conditions)
    assert f"licence_accepted: [{model}]" in message


@pytest.mark.parametrize("name", ["qwen2.5-vl-3b-instruct", "Qwen/Qwen2.5-VL-3B-Instruct"])
def test_an_operator_may_accept_it_by_any_of_the_models_names(name: str):
    """For research, or under an agreement with the publisher."""
    check_licence(RESEARCH_ONLY, accepted=[name])
