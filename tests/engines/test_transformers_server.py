"""Our Transformers server, started as a replica starts it, with a tiny SmolVLM2.

Skipped where its environment is not installed: `make engine-transformers`.
"""

import asyncio
import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog.catalog import load_card
from tests.models.internvl2 import encoded, image, picture, run_in
from tests.models.running import Running, environment_of, running, streamed_text, text_of
from tests.models.video import clip_of_frames, part

HERE = Path(__file__).parent
TINY_VLMS = HERE.parent / "models" / "tiny_vlms"
CARD = load_card(HERE.parent / "models" / "tiny-smolvlm2.yaml")
# The template of a question without its text: <|im_start|>User: ...<end_of_utterance>\nAssistant:
TEMPLATE_TOKENS = 1 + len("User: ") + 1 + len("\n") + len("Assistant:")
ORIENTATION, ROTATED_90_CLOCKWISE = 0x112, 6
ENOUGH = 4000  # output tokens that no answer here is let alone to reach

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smolvlm2")
    run_in(environment_of(CARD), TINY_VLMS, "smolvlm2", str(folder))
    return folder


@pytest.fixture(scope="module")
def engine(weights: Path) -> Iterator[Running]:
    with running(CARD, weights) as engine:
        yield engine


def told(answer: dict[str, Any]) -> list[Any]:
    """As `transformers_reference.py` tells it."""
    return [text_of(answer), answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]]


QUESTIONS: list[tuple[str, list[str], int]] = [
    ("hello", [], 32),
    ("what", [], 60),
    ("what is in the image?", [picture(448, 448)], 32),
    ("what is in the image?", [picture(448, 448, seed=1)], 32),
    ("what is it?", [picture(640, 120, seed=2)], 24),
    ("compare", [picture(448, 448), picture(100, 300, seed=3)], 24),
    ("compare them all", [picture(448, 100, seed=n) for n in range(3)], 24),
]


async def test_greedy_answers_are_those_of_transformers(engine: Running, weights: Path):
    """Token by token, one question at a time and all of them in batches; so are the counts."""
    long_edge_px = str(CARD.vision.long_edge_px)
    script, given = HERE / "transformers_reference.py", json.dumps(QUESTIONS)
    expected = json.loads(run_in(environment_of(CARD), script, str(weights), long_edge_px, given=given))
    asks = [(*map(image, pictures), text, tokens) for text, pictures, tokens in QUESTIONS]
    alone = [told(await engine.answer(*parts, max_tokens=tokens)) for *parts, tokens in asks]
    assert alone == expected
    batches = await _batches(engine)
    together = await asyncio.gather(*(engine.answer(*parts, max_tokens=tokens) for *parts, tokens in asks))
    assert [told(answer) for answer in together] == expected
    assert await _batches(engine) - batches < len(QUESTIONS)
    assert len({answer for answer, _, _ in expected}) > len(expected) // 2  # it sees what it is asked


async def test_a_batch_is_bounded_by_vision_tokens(engine: Running):
    """Twelve texts that wait are one batch of at most eight, then another; of twelve images, two fit into one."""
    text_batches = await _batches_of(engine, *(["hello"] for _ in range(12)))
    image_batches = await _batches_of(engine, *([image(picture(448, 448, seed=n)), "what"] for n in range(12)))
    assert 12 / 8 <= text_batches <= 4
    assert image_batches >= 12 / 2


async def test_who_is_done_does_not_wait_for_the_others(engine: Running):
    """A long answer of the same batch is still being written when the short ones are there."""
    await engine.rests()
    batches = await _batches(engine)
    long = asyncio.create_task(engine.answer("hello", max_tokens=600, ignore_eos=True))
    short = [asyncio.create_task(engine.answer("hello", max_tokens=2)) for _ in range(3)]
    await asyncio.gather(*short)
    if await _batches(engine) == batches + 1:
        assert not long.done()
    assert (await long)["usage"]["completion_tokens"] == 600


@pytest.mark.parametrize("sizes", [[], [(448, 448)], [(640, 480)], [(1, 1)], [(2000, 200)], [(512, 512), (28, 560)]])
async def test_usage_is_our_formula(engine: Running, sizes: list[tuple[int, int]]):
    """Vision tokens are told apart, and are in the prompt's; what an image says of itself changes nothing."""
    parts = [image(picture(*size), detail="low", max_pixels=1) for size in sizes]
    usage = (await engine.answer(*parts, "what?", max_tokens=1))["usage"]
    vision_tokens = sum(CARD.vision.see(*size).vision_tokens for size in sizes)
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == ({"image": vision_tokens} if sizes else {})
    assert usage["prompt_tokens"] >= vision_tokens + len("what?")
    if not sizes:
        assert usage["prompt_tokens"] == len("what?") + TEMPLATE_TOKENS
    assert (usage["completion_tokens"], usage["total_tokens"]) == (1, usage["prompt_tokens"] + 1)


@pytest.mark.parametrize("frames", [1, 5])
async def test_a_video_of_frames_takes_a_tile_a_frame(engine: Running, frames: int):
    """As many vision tokens as the card's formula says."""
    answer = await engine.answer(clip_of_frames(frames, 320, 240), "what happens?", max_tokens=8)
    expected = CARD.vision.see_video(frames, 320, 240).vision_tokens
    assert answer["usage"]["prompt_tokens_details"]["multimodal_tokens"] == {"video": expected}


async def test_the_rate_of_frames_is_told_to_the_model(engine: Running):
    """In the times that its prompt says beside each: minutes have more digits than seconds, and hours more than minutes."""
    clip = clip_of_frames(3, 320, 240)
    rates = [{"video": {"num_frames": 3, "fps": fps}} for fps in (1, 0.0001)]
    fast, slow = [(await engine.answer(clip, "what?", media_io_kwargs=rate))["usage"] for rate in rates]
    assert slow["prompt_tokens"] > fast["prompt_tokens"]
    assert fast["prompt_tokens_details"] == slow["prompt_tokens_details"]


async def test_a_video_file_is_seen_a_frame_a_second(engine: Running, tmp_path: Path):
    """Whatever its container; and another clip is another answer."""
    script = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import clip; clip.write(pathlib.Path(sys.argv[2]))"
    (tmp_path / "run.py").write_text(script)
    run_in(environment_of(CARD), tmp_path / "run.py", str(TINY_VLMS), str(tmp_path))
    for name, kind in (("clip.mp4", "video/mp4"), ("clip.webm", "video/webm"), ("clip.gif", "image/gif")):
        data = base64.b64encode((tmp_path / name).read_bytes()).decode()
        usage = (await engine.answer(part(kind, data), "what happens?", max_tokens=4))["usage"]
        expected = CARD.vision.see_video(3, 320, 240).vision_tokens
        assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"video": expected}, name


async def test_videos_and_images_are_computed_in_one_batch(engine: Running):
    """With the answers that they get alone."""
    asks = [(clip_of_frames(2, 320, 240), "what?"), (image(picture(448, 100)), "what?"), ("what?",)]
    alone = [told(await engine.answer(*parts)) for parts in asks]
    assert [told(answer) for answer in await asyncio.gather(*(engine.answer(*parts) for parts in asks))] == alone


async def test_a_stream_is_the_whole_answer(engine: Running):
    """Its usage grows with every chunk, and ends as that of the whole answer."""
    question = (image(picture(448, 100)), "what")
    whole = await engine.answer(*question, max_tokens=32)
    first, *others, last = await engine.chunks(*question, max_tokens=32)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert streamed_text(others) == text_of(whole)
    assert others[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    counts = [chunk["usage"]["completion_tokens"] for chunk in (first, *others)]
    assert counts == list(range(len(counts)))
    assert {chunk["usage"]["prompt_tokens"] for chunk in (first, *others)} == {whole["usage"]["prompt_tokens"]}


async def test_the_counters_count_what_the_answers_say(engine: Running):
    """Prompts and answers, of requests that came together."""
    await engine.rests()
    before = await engine.counters()
    answers = await asyncio.gather(*(engine.answer("hello", max_tokens=n) for n in range(1, 9)))
    after = await engine.counters()
    usages = [answer["usage"] for answer in answers]
    assert after.output_tokens - before.output_tokens == sum(usage["completion_tokens"] for usage in usages)
    assert after.prompt_tokens - before.prompt_tokens == sum(usage["prompt_tokens"] for usage in usages)
    assert after.in_flight == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stop_of_several_tokens_ends_the_answer(engine: Running, streamed: bool):
    """Before it, with the tokens counted that it took to see it."""
    text = text_of(await engine.answer("hello", max_tokens=32))
    stop = text[5:8]
    if streamed:
        *parts, last = await engine.chunks("hello", max_tokens=32, stop=["never", stop])
        content, finish, usage = streamed_text(parts), parts[-1]["choices"][0]["finish_reason"], last["usage"]
    else:
        answer = await engine.answer("hello", max_tokens=32, stop=stop)
        content, finish, usage = text_of(answer), answer["choices"][0]["finish_reason"], answer["usage"]
    assert (content, finish) == (text[: text.index(stop)], "stop")
    assert usage["completion_tokens"] < 32


async def test_a_stop_token_ends_the_answer(engine: Running, weights: Path):
    """As text does, but by its number; the token itself is counted, not told."""
    vocabulary = json.loads((weights / "tokenizer.json").read_text())["model"]["vocab"]
    text = text_of(await engine.answer("hello", max_tokens=32))
    letter = next(letter for letter in text if letter in vocabulary)
    answer = await engine.answer("hello", max_tokens=32, stop_token_ids=[vocabulary[letter]])
    assert text_of(answer) == text[: text.index(letter)]
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_a_seed_is_an_answer(engine: Running):
    """Whatever else is in the batch; another seed is another answer, and silence is another each time."""
    fields = {"temperature": 1, "max_tokens": 24}
    seeds = (7, 7, 8, 9, 7, None, None)
    answers = await asyncio.gather(*(engine.answer("hello", seed=seed, **fields) for seed in seeds))
    first, again, eight, nine, later, *silent = map(text_of, answers)
    assert first == again == later
    assert len({first, eight, nine, *silent}) == 5


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"top_p": 0.0001}, {"min_p": 1}, {"temperature": 0}])
async def test_what_leaves_one_token_is_greedy(engine: Running, fields: dict[str, Any]):
    """By any of the four ways to say so."""
    greedy = text_of(await engine.answer("hello"))
    assert text_of(await engine.answer("hello", **{"temperature": 1.5, "seed": 3} | fields)) == greedy


async def test_a_repetition_penalty_changes_what_is_said(engine: Running):
    """And a penalty of one changes nothing."""
    greedy = text_of(await engine.answer("hello", max_tokens=32))
    assert text_of(await engine.answer("hello", max_tokens=32, repetition_penalty=1)) == greedy
    assert text_of(await engine.answer("hello", max_tokens=32, repetition_penalty=50)) != greedy


async def test_a_schema_is_kept(engine: Running):
    """By a model that knows no JSON; also where its end is to be ignored."""
    schema = {
        "type": "object",
        "properties": {"shape": {"enum": ["circle", "square"]}, "count": {"type": "integer", "maximum": 9}},
        "required": ["shape", "count"],
        "additionalProperties": False,
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    # With some heat: a greedy model of noise would write blanks for ever, which JSON allows.
    fields = {"temperature": 1, "max_tokens": 400, "response_format": response_format}
    answers = await asyncio.gather(*(engine.answer("what is it?", seed=seed, **fields) for seed in range(4)))
    things = [json.loads(text_of(answer)) for answer in answers if answer["choices"][0]["finish_reason"] == "stop"]
    assert things
    for thing in things:
        assert thing["shape"] in ("circle", "square")
        assert thing["count"] <= 9
    endless = await engine.answer("what is it?", seed=0, ignore_eos=True, **fields)
    assert endless["usage"]["completion_tokens"] == 400


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 3}, "temperature: Input should be less than or equal to 2"),
        ({"logit_bias": {}}, "logit_bias: Extra inputs are not permitted"),
        ({"mm_processor_kwargs": {}}, "mm_processor_kwargs: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"stop": [""]}, "at least 1 character"),
        ({"max_tokens": 8192}, "The model's maximum context length is 8192 tokens"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "?"}}}}, "unsupported schema"),
        ({"media_io_kwargs": {"video": {"fps": 0}}}, "media_io_kwargs.video.fps"),
        ({"response_format": {"type": "xml"}}, "response_format: its type is one of"),
        ({"model": "another"}, "is the only one here"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "0.content.list"),
        ({"messages": [{"role": "sailor", "content": "ahoy"}]}, "0.role"),
    ],
)
async def test_bad_input_is_refused_by_name(engine: Running, fields: dict[str, Any], message: str):
    """In the shape of vLLM's errors."""
    assert message in await engine.refusal("hello", **fields)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([image(base64.b64encode(b"no picture").decode())], "Failed to load image"),
        ([image("not base64")], "Failed to load image"),
        ([image(picture(448, 448)[:600])], "Failed to load image"),
        ([{"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}], "nothing is fetched here"),
        ([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}], "nothing is fetched here"),
        ([part("video/mp4", base64.b64encode(b"no video").decode())], "Failed to load video"),
        ([image(picture(8, 8)), "an <image> of another"], "the model's own marker of an image"),
        ([image(picture(8, 8))] * 4, "At most 3 image(s)"),
        ([image(picture(8, 8)), clip_of_frames(1, 64, 64)], "Images and videos cannot be in one request"),
        (["hello" * 2000], "The model's maximum context length is 8192 tokens"),
    ],
)
async def test_what_cannot_be_read_is_refused(engine: Running, parts: list[Any], message: str):
    """Nothing is fetched; nothing is cut to fit."""
    assert message in await engine.refusal(*parts)


async def test_silence_means_what_it_means_to_vllm(engine: Running):
    """Temperature 1 and every token possible; and null is silence."""
    loud = text_of(await engine.answer("hello", temperature=1, top_p=1, top_k=-1, seed=5))
    assert text_of(await engine.answer("hello", temperature=None, top_k=None, seed=5)) == loud


async def test_a_picture_is_turned_upright(engine: Running):
    """As its EXIF tag says."""
    upright = Image.frombytes("RGB", (8, 4), random.Random(1).randbytes(8 * 4 * 3)).resize((448, 224))
    lying, exif = upright.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[ORIENTATION] = ROTATED_90_CLOCKWISE
    asks = [encoded(upright), encoded(lying, exif=exif), encoded(lying)]
    straight, turned, not_turned = [told(await engine.answer(image(one), "what")) for one in asks]
    assert turned == straight
    assert not_turned != straight


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_stops_the_work(engine: Running, streamed: bool):
    """All of it, at once, whether it is computed or still waits: none of these answers is written to its end."""
    await engine.rests()
    before = await engine.counters()

    async def leave(number: int) -> None:
        parts = ["hello"] if number % 2 else [image(picture(448, 100, seed=number)), "hello"]
        fields = {"max_tokens": ENOUGH, "ignore_eos": True, "temperature": 1, "seed": number, "stream": streamed}
        async with engine.client() as client:
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=engine.body(*parts, **fields)))
            await asyncio.sleep(0.1 * number)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    await asyncio.gather(*map(leave, range(12)))
    await engine.rests()
    after = await engine.counters()
    assert after.output_tokens - before.output_tokens < ENOUGH
    assert text_of(await engine.answer("hello", max_tokens=1))


async def _batches(engine: Running) -> int:
    async with engine.client() as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("transformers:batches_total")))


async def _batches_of(engine: Running, *questions: list[Any]) -> int:
    before = await _batches(engine)
    await asyncio.gather(*(engine.answer(*question, max_tokens=16, ignore_eos=True) for question in questions))
    return await _batches(engine) - before
