"""InternVL2 on LMDeploy behind the same gateway: answers, streams, money. Skipped where LMDeploy is not installed."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
import yaml

from tests.e2e.cluster import Cluster, free_port, vlmfleet, wait_until
from tests.models.internvl2 import CARD, CARD_FILE, image, installed_lmdeploy, picture, write_weights

pytestmark = pytest.mark.engine

MODEL = CARD.served_name
# What a picture is: tiles of 256 tokens.
VISION_TOKENS = 13 * 256


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    environment, folder = installed_lmdeploy(), tmp_path_factory.mktemp("lmdeploy")
    write_weights(environment, folder)
    card = yaml.safe_load(CARD_FILE.read_text()) | {"source": {"path": str(folder / "original")}}
    (folder / "cards").mkdir()
    (folder / "cards" / "tiny.yaml").write_text(yaml.safe_dump(card))
    config, home, port = folder / "serve.yaml", folder / "home", free_port()
    config.write_text(yaml.safe_dump(serve_config(str(folder / "cards"))))
    output, _ = (up := vlmfleet("up", home, port, config)).communicate()
    assert up.returncode == 0, output
    yield Cluster(f"http://127.0.0.1:{port}", home)
    output, _ = (down := vlmfleet("down", home, port, config)).communicate()
    assert down.returncode == 0, output


def serve_config(cards: str) -> dict[str, Any]:
    """As `serve.yaml`, with this model alone."""
    models = {"models": [MODEL], "cards": cards}
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "request_timeout_s": 660},
        "applications": [
            application("ledger", "ledger", None, models),
            application(f"model-{MODEL}", "engine", None, {"model": MODEL, "cards": cards}),
            application("gateway", "gateway", "/", models),
        ],
    }


def application(name: str, builder: str, route: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    path = f"deployments.apps:{builder}"
    return {"name": name, "route_prefix": route, "import_path": path, "args": arguments}


@pytest.fixture
def client(cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0) as made:
        yield made


def about(seed: int, **fields: Any) -> dict[str, Any]:
    content = [image(picture(640, 480, seed), detail="high"), {"type": "text", "text": "What is in the image?"}]
    messages = [{"role": "user", "content": content}]
    return {"model": MODEL, "messages": messages, "temperature": 0, "max_completion_tokens": 16} | fields


def test_an_image_is_answered_and_priced_by_its_tiles(client: openai.OpenAI, cluster: Cluster):
    """The engine's own count is ours, and the ledger has it."""
    answer = client.chat.completions.create(**about(1))
    assert answer.choices[0].message.content
    assert answer.usage.prompt_tokens_details.image_tokens == VISION_TOKENS
    assert answer.usage.prompt_tokens == VISION_TOKENS + answer.usage.prompt_tokens_details.text_tokens
    row = cluster.usage_rows()[-1]
    assert (row["vision_tokens"], row["output_tokens"]) == (VISION_TOKENS, answer.usage.completion_tokens)
    assert row["model"] == MODEL


def test_a_stream_is_the_same_answer(client: openai.OpenAI):
    """Text, usage and price."""
    whole = client.chat.completions.create(**about(2))
    parts = list(client.chat.completions.create(**about(2), stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content
    assert parts[-1].usage == whole.usage


def test_a_stop_is_not_in_the_answer(client: openai.OpenAI):
    """Any text can be one, as on vLLM."""
    text = client.chat.completions.create(**about(3)).choices[0].message.content
    stopped = client.chat.completions.create(**about(3), stop=[text[4:6]]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == (text[: text.index(text[4:6])], "stop")


def test_who_leaves_a_stream_pays_for_what_was_sent(client: openai.OpenAI, cluster: Cluster):
    """The prompt exactly, although LMDeploy itself counts at the end of a stream only."""
    text_tokens = client.chat.completions.create(**about(4)).usage.prompt_tokens - VISION_TOKENS
    before = len(cluster.usage_rows())
    forever = about(4, max_completion_tokens=4000, stream=True, extra_body={"ignore_eos": True})
    with client.chat.completions.create(**forever) as stream:
        for _, _ in zip(range(5), stream, strict=False):
            pass
    wait_until(lambda: len(cluster.usage_rows()) > before and not cluster.open_holds())
    row = cluster.usage_rows()[-1]
    assert row["outcome"] == "client_left"
    assert 0 < row["output_tokens"] < 4000
    assert (row["vision_tokens"], row["text_tokens"]) == (VISION_TOKENS, text_tokens)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logprobs": True}, "does not take 'logprobs'"),
        ({"max_completion_tokens": 4096, "messages": [{"role": "user", "content": "a" * 5000}]}, "context"),
    ],
)
def test_what_cannot_be_is_refused_before_it_costs(client: openai.OpenAI, fields: dict[str, Any], message: str):
    """In the words of every other model."""
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(**about(5, **fields))
