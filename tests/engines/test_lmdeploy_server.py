"""LMDeploy itself on a CPU, started as a replica starts it, with a tiny InternVL2 of the published layout.

Skipped where its environment is not installed: `make engine-lmdeploy`.
"""

import asyncio
import base64
import json
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from deployments.engines.environment import EngineEnvironment
from deployments.engines.lmdeploy import SERVER
from deployments.engines.server import EngineServer
from deployments.engines.witness import read_counters
from deployments.guard import descendants
from tests.models.internvl2 import CARD, encoded, image, installed_lmdeploy, picture, run_in, write_weights
from tests.models.running import kept

HERE = Path(__file__).parent
# The template of a question without its text: <s><|im_start|>user\n...<|im_end|>\n<|im_start|>assistant\n
TEMPLATE_TOKENS = 1 + 1 + len("user\n") + 1 + len("\n") + 1 + len("assistant\n")
# Around the tokens of an image: <img>...</img>\n
IMAGE_DELIMITERS = 3
# EXIF's tag, and its value for a camera that was held so that its picture must be turned right.
ORIENTATION, ROTATED_90_CLOCKWISE = 0x112, 6
ENOUGH = 4000  # output tokens that no answer here is let alone to reach

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Engine:
    """A running server."""

    server: EngineServer
    token: str
    weights: Path

    async def chat(self, *parts: Any, **fields: Any) -> httpx.Response:
        async with self.client() as client:
            return await client.post("/v1/chat/completions", json=body(*parts, **fields))

    async def answer(self, *parts: Any, **fields: Any) -> dict[str, Any]:
        response = await self.chat(*parts, **fields)
        assert response.status_code == 200, response.text
        return response.json()

    async def chunks(self, *parts: Any, **fields: Any) -> list[dict[str, Any]]:
        """Of a stream, which ended as it must."""
        fields |= {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
        *events, done, nothing = (await self.chat(*parts, **fields)).text.split("\n\n")
        assert (done, nothing) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.server.url, headers=headers, timeout=300) as client:
            yield client

    async def rests(self) -> None:
        """Wait until it does nothing."""
        assert self.server._process
        processes = [psutil.Process(pid) for pid in descendants(self.server._process.pid)]
        for _ in range(60):
            before = sum(sum(process.cpu_times()[:2]) for process in processes)
            await asyncio.sleep(1)
            if sum(sum(process.cpu_times()[:2]) for process in processes) - before < 0.3:
                return
        pytest.fail("it did not come to rest")


@pytest.fixture(scope="module")
def environment() -> EngineEnvironment:
    return installed_lmdeploy()


@pytest.fixture(scope="module")
def weights(environment: EngineEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("internvl2")
    write_weights(environment, folder)
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> Iterator[Engine]:
    with kept(CARD, weights / "original") as engine:
        yield Engine(engine.server, engine.token, weights)


def body(*parts: Any, **fields: Any) -> dict[str, Any]:
    """A question, greedy unless it says otherwise. A part is a text or an image."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    messages = [{"role": "user", "content": content}]
    return {"model": CARD.served_name, "messages": messages, "max_tokens": 16, "temperature": 0} | fields


def text_of(answer: dict[str, Any]) -> str:
    return answer["choices"][0]["message"]["content"]


def told(answer: dict[str, Any]) -> list[Any]:
    """As `lmdeploy_reference.py` tells it."""
    return [text_of(answer), answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]]


QUESTIONS: list[tuple[str, list[str], int]] = [
    ("hello", [], 32),
    ("what", [], 60),  # ends by itself
    ("what is in the image?", [picture(448, 448)], 32),
    ("what is in the image?", [picture(448, 448, seed=1)], 32),
    ("what is it?", [picture(640, 480, seed=2)], 24),
    ("compare", [picture(448, 448), picture(100, 300, seed=3)], 24),
    ("compare them all", [picture(448, 448, seed=n) for n in range(3)], 24),
]


async def test_greedy_answers_are_those_of_transformers(engine: Engine, environment: EngineEnvironment):
    """Token by token, one question at a time and all of them in one batch; so are the counts."""
    expected = json.loads(
        run_in(environment, HERE / "lmdeploy_reference.py", str(engine.weights), given=json.dumps(QUESTIONS))
    )
    asks = [(*map(image, pictures), text, tokens) for text, pictures, tokens in QUESTIONS]
    alone = [told(await engine.answer(*parts, max_tokens=tokens)) for *parts, tokens in asks]
    assert alone == expected
    together = await asyncio.gather(*(engine.answer(*parts, max_tokens=tokens) for *parts, tokens in asks))
    assert [told(answer) for answer in together] == expected
    assert len({answer for answer, _, _ in expected}) > len(expected) // 2  # it sees what it is asked


@pytest.mark.parametrize(
    ("sizes", "fields"),
    [
        ([], {}),
        ([(448, 448)], {}),
        ([(640, 480)], {}),
        ([(1024, 1024)], {}),
        ([(1920, 1080)], {}),
        ([(1, 1)], {}),
        ([(2000, 200)], {}),
        ([(512, 512), (1280, 720), (28, 5600)], {}),
        ([(1920, 1080)], {"detail": "high"}),
        ([(1920, 1080)], {"max_dynamic_patch": 40}),
    ],
)
async def test_usage_is_our_formula(engine: Engine, sizes: list[tuple[int, int]], fields: dict[str, Any]):
    """Tiles times 256, the delimiters, the text; and nothing that an image says of itself can change it."""
    text = "what is this?"
    usage = (await engine.answer(*(image(picture(*size), **fields) for size in sizes), text, max_tokens=1))["usage"]
    image_tokens = sum(CARD.vision.see(*size).vision_tokens for size in sizes)
    assert usage["prompt_tokens"] == image_tokens + IMAGE_DELIMITERS * len(sizes) + len(text) + TEMPLATE_TOKENS
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"image": image_tokens}
    assert (usage["completion_tokens"], usage["total_tokens"]) == (1, usage["prompt_tokens"] + 1)


async def test_a_stream_is_the_whole_answer(engine: Engine):
    """Its usage grows with every chunk, and ends as that of the whole answer."""
    question = (image(picture(448, 448)), "what")
    whole = await engine.answer(*question, max_tokens=32)
    first, *others, last = await engine.chunks(*question, max_tokens=32)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in others) == text_of(whole)
    assert others[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    counts = [chunk["usage"]["completion_tokens"] for chunk in (first, *others)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert {chunk["usage"]["prompt_tokens"] for chunk in (first, *others)} == {whole["usage"]["prompt_tokens"]}


async def test_an_answer_that_ends_by_itself_counts_its_last_token(engine: Engine):
    """It is not seen, but it was computed; the engine's own counter has it."""
    before = await read_counters(engine.server.url, 5.0, engine.token)
    answer = await engine.answer("what", max_tokens=60)
    after = await read_counters(engine.server.url, 5.0, engine.token)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == len(text_of(answer)) + 1
    assert after.output_tokens - before.output_tokens == answer["usage"]["completion_tokens"]
    assert after.prompt_tokens - before.prompt_tokens == answer["usage"]["prompt_tokens"]
    assert after.in_flight is not None


async def test_the_counters_need_the_token(engine: Engine):
    """As everything but /health does."""
    assert (await read_counters(engine.server.url, 5.0)).prompt_tokens is None
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.post(f"{engine.server.url}/v1/chat/completions", json=body("hello"))
    assert answer.status_code == 401


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stop_of_several_tokens_ends_the_answer(engine: Engine, streamed: bool):
    """Before it, with the tokens counted that it took to see it: in a stream too, what the engine itself has counted."""
    text = text_of(await engine.answer("hello", max_tokens=32))
    stop = text[5:8]
    before = await read_counters(engine.server.url, 5.0, engine.token)
    if streamed:
        *parts, last = await engine.chunks("hello", max_tokens=32, stop=["never", stop])
        content = "".join(chunk["choices"][0]["delta"]["content"] for chunk in parts)
        finish, usage = parts[-1]["choices"][0]["finish_reason"], last["usage"]
    else:
        answer = await engine.answer("hello", max_tokens=32, stop=stop)
        content, finish, usage = text_of(answer), answer["choices"][0]["finish_reason"], answer["usage"]
    after = await read_counters(engine.server.url, 5.0, engine.token)
    assert (content, finish) == (text[: text.index(stop)], "stop")
    assert len(content) + len(stop) <= usage["completion_tokens"] < 32
    assert usage["completion_tokens"] == after.output_tokens - before.output_tokens


async def test_a_stop_token_ends_the_answer(engine: Engine):
    """As text does, but by its number."""
    text = text_of(await engine.answer("hello", max_tokens=8))
    vocabulary = json.loads((engine.weights / "original" / "tokenizer.json").read_text())["model"]["vocab"]
    answer = await engine.answer("hello", max_tokens=32, stop_token_ids=[vocabulary[text[4]]])
    assert text_of(answer) == text[: text.index(text[4])]
    assert answer["usage"]["completion_tokens"] == text.index(text[4]) + 1


async def test_a_seed_is_an_answer(engine: Engine):
    """Whatever else is in the batch; another seed is another answer."""
    fields = {"temperature": 1, "max_tokens": 24}
    answers = await asyncio.gather(*(engine.answer("hello", seed=seed, **fields) for seed in (7, 7, 8, 9, 7)))
    first, again, *others, later = map(text_of, answers)
    assert first == again == later
    assert first not in others


async def test_a_schema_is_kept(engine: Engine):
    """By a model that knows no JSON."""
    schema = {
        "type": "object",
        "properties": {"shape": {"enum": ["circle", "square"]}, "count": {"type": "integer", "maximum": 9}},
        "required": ["shape", "count"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    # With some heat: a greedy model of noise would write blanks for ever, which JSON allows.
    fields = {"temperature": 1, "max_tokens": 400, "response_format": response_format}
    answers = await asyncio.gather(
        *(engine.answer(image(picture(448, 448)), "what is it?", seed=seed, **fields) for seed in range(4))
    )
    things = [json.loads(text_of(answer)) for answer in answers if answer["choices"][0]["finish_reason"] == "stop"]
    assert things
    for thing in things:
        assert thing["shape"] in ("circle", "square")
        assert thing["count"] <= 9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 3}, "temperature: Input should be less than or equal to 2"),
        ({"logit_bias": {}}, "logit_bias: Extra inputs are not permitted"),
        ({"mm_processor_kwargs": {}}, "mm_processor_kwargs: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"stop": [""]}, "at least 1 character"),
        ({"max_tokens": 8192}, "The model's maximum context length is 8192 tokens"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}}, "Unsupported type"),
    ],
)
async def test_bad_input_is_refused_by_name(engine: Engine, fields: dict[str, Any], message: str):
    """In the shape of vLLM's errors."""
    response = await engine.chat("hello", **fields)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (image(base64.b64encode(b"no picture").decode()), "Failed to load image"),
        (image(picture(448, 448)[:600]), "Failed to load image"),
        ({"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}, "allowed domains"),
        ("hello" * 2000, "The model's maximum context length is 8192 tokens"),
    ],
)
async def test_what_cannot_be_read_is_refused(engine: Engine, part: Any, message: str):
    """Nothing is fetched; nothing is cut to fit."""
    response = await engine.chat(part)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


async def test_silence_means_what_it_means_to_vllm(engine: Engine):
    """Temperature 1 and every token possible; and null is silence."""
    loud = text_of(await engine.answer("hello", temperature=1, top_p=1, top_k=-1, seed=5))
    assert text_of(await engine.answer("hello", temperature=None, top_k=None, seed=5)) == loud


async def test_messages_in_parts_are_understood_beside_an_image(engine: Engine):
    """LMDeploy itself would fail: its template takes text."""
    parts = [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]
    user = body(image(picture(448, 448)), "what")["messages"]
    in_parts = await engine.answer(messages=[{"role": "system", "content": parts}, *user])
    joined = await engine.answer(messages=[{"role": "system", "content": "be\nbrief"}, *user])
    assert told(in_parts) == told(joined)


async def test_a_picture_is_turned_upright(engine: Engine):
    """As its EXIF tag says; LMDeploy itself would leave it as the camera was held."""
    upright = Image.frombytes("RGB", (8, 4), random.Random(1).randbytes(8 * 4 * 3)).resize((448, 224))
    lying, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[ORIENTATION] = ROTATED_90_CLOCKWISE
    asks = [encoded(upright), encoded(lying, exif=exif), encoded(lying)]
    straight, turned, not_turned = [told(await engine.answer(image(one), "what")) for one in asks]
    assert turned == straight
    assert not_turned != straight


async def test_transparency_is_white(engine: Engine):
    """Whatever colour is stored behind it."""
    see_through = Image.new("RGBA", (448, 448), (255, 0, 0, 0))
    white, red = Image.new("RGB", (448, 448), "white"), Image.new("RGB", (448, 448), "red")
    asks = [encoded(see_through), encoded(white), encoded(red)]
    answers = [told(await engine.answer(image(one), "what", max_tokens=32)) for one in asks]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_stops_the_work(engine: Engine, streamed: bool):
    """All of it, at once: none of these answers is written to its end."""
    await engine.rests()
    before = await read_counters(engine.server.url, 5.0, engine.token)

    async def leave(number: int) -> None:
        parts = ["hello"] if number % 2 else [image(picture(448, 448, seed=number)), "hello"]
        fields = {"max_tokens": ENOUGH, "ignore_eos": True, "temperature": 1, "seed": number, "stream": streamed}
        async with engine.client() as client:
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=body(*parts, **fields)))
            await asyncio.sleep(0.2 * number)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*map(leave, range(12)))
    await engine.rests()
    after = await read_counters(engine.server.url, 5.0, engine.token)
    assert after.output_tokens - before.output_tokens < ENOUGH
    assert text_of(await engine.answer("hello", max_tokens=1))


def test_another_version_is_refused(environment: EngineEnvironment, tmp_path: Path):
    """What is replaced is private to the one version that it was made for."""
    script = tmp_path / "pretend.py"
    script.write_text(
        f"import importlib.metadata, sys\nsys.path.insert(0, {str(SERVER.parent)!r})\n"
        "importlib.metadata.version = lambda name: '0.19.0'\n"
        "import lmdeploy_server\n"
    )
    done = subprocess.run([str(environment.python), str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "made for LMDeploy 0.18.0, but here is 0.19.0; run: make engine-lmdeploy" in done.stderr


def test_an_engine_that_tells_its_name_slowly_starts(environment: EngineEnvironment, tmp_path: Path):
    """LMDeploy's server takes the name, and ends what keeps it, while the engine's process is still telling it."""
    script = tmp_path / "tell.py"
    script.write_text(
        f"import multiprocessing, sys\nsys.path.insert(0, {str(SERVER.parent)!r})\n"
        "from lmdeploy_rpc import Told\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Manager() as manager:\n"
        "        with Told(manager.Condition()) as _:\n"
        "            manager.shutdown()\n"
        "    print('told')\n"
    )
    assert run_in(environment, script).endswith("told\n")
