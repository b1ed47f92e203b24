"""The composition root: what `serve.yaml` and `serve run` may say, and what comes of it."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from catalog import CardError
from deployments import apps


def test_the_packages_are_those_of_this_checkout():
    """Generic names could be shadowed by another distribution's."""
    assert Path(apps.__file__).parents[1] == Path(__file__).parents[1]


def test_serve_yaml_names_builders_that_take_its_arguments():
    """Every application of the file is built by this module, with arguments that its settings accept."""
    settings = {
        "ledger": apps.LedgerSettings,
        "engine": apps.EngineSettings,
        "gateway": apps.GatewaySettings,
        "batches": apps.BatchSettings,
        "scaling": apps.ScalingSettings,
    }
    config = yaml.safe_load((apps.CHECKOUT / "serve.yaml").read_text())
    for application in config["applications"]:
        module, builder = application["import_path"].split(":")
        assert module == "deployments.apps"
        assert settings[builder](**application["args"]).model_dump()


def test_each_models_application_has_the_name_that_the_gateway_looks_for():
    """The gateway finds a model by its application's name."""
    config = yaml.safe_load((apps.CHECKOUT / "serve.yaml").read_text())
    names = {application["name"] for application in config["applications"]}
    (gateway,) = (app for app in config["applications"] if app["name"] == "gateway")
    for card in apps.GatewaySettings(**gateway["args"]).pick(gateway["args"]["models"]):
        assert apps.engine_app_name(card) in names
    assert apps.LEDGER_APP in names


def test_serve_run_gives_lists_as_text():
    """`models=a,b` on the command line is a list of two."""
    assert apps.GatewaySettings(models="a,b").models == ["a", "b"]


def test_a_misspelt_argument_is_refused():
    """Serve itself would ignore it."""
    with pytest.raises(ValidationError, match="modles"):
        apps.LedgerSettings(modles=["demo"])


def test_an_unknown_model_is_named_with_those_there_are():
    """The message helps to correct it."""
    with pytest.raises(CardError, match=r"'gpt-5'.*demo-qwen2-vl"):
        apps.GatewaySettings(models=["gpt-5"]).pick(["gpt-5"])


def test_a_cards_price_is_stored_whole():
    """Version, amounts and the basis on which they were set."""
    (card,) = apps.GatewaySettings(models=["demo"]).pick(["demo"])
    price = apps.price_of(card)
    assert (price.model, price.version, price.unit_nano, price.batch_unit_nano) == ("demo-qwen2-vl", 1, 10_000, 5_000)
    assert "development key" in price.basis


def test_a_model_that_cannot_be_served_is_refused_before_anything_is_taken():
    """When the application is built, so that Serve's status says why."""
    with pytest.raises(CardError, match="does not allow a paid hosted API"):
        apps.engine(apps.EngineSettings(model="qwen2.5-vl-3b-instruct"))


def test_too_little_memory_is_refused_when_the_application_is_built(tmp_path: Path):
    """By arithmetic, before a GPU is taken."""
    card = yaml.safe_load((apps.CHECKOUT / "catalog/cards/llava-1.5-13b-hf.yaml").read_text())
    card["accelerators"]["kind"] = "L4"
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(CardError, match="It fits 2 x L4"):
        apps.engine(apps.EngineSettings(model="llava-1.5-13b", cards=tmp_path))


def test_an_operator_may_accept_a_licence():
    """`licence_accepted` is a list, also as `serve run` hands it over."""
    settings = apps.EngineSettings(model="qwen2.5-vl-3b-instruct", licence_accepted="qwen2.5-vl-3b-instruct")
    assert apps.engine(settings)


def test_a_gateway_has_room_for_more_than_one_body():
    """Else the largest body that it takes would never fit."""
    with pytest.raises(ValidationError, match="bodies_bytes_max"):
        apps.GatewaySettings(models=["demo"], body_bytes_max=100, bodies_bytes_max=199)
