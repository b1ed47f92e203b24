"""True answers, through the official client, in every way in which it can ask."""

import asyncio
import itertools
import json

import pytest

from tests.e2e.cluster import MODEL, MODELS, about, asking, data_url, png

# The model itself is right on at least 95% of its held-out images (`make demo-eval`).
RIGHT_MIN = 0.9


def share_right(answers, examples):
    return sum(answer == example.answer for answer, example in zip(answers, examples, strict=True)) / len(examples)


@pytest.mark.parametrize("model", MODELS)
def test_answers_are_true(client, held_out, model):
    """What the model says of a picture that it never saw is right."""
    answers = [
        client.chat.completions.create(**about(example, model)).choices[0].message.content for example in held_out
    ]
    assert share_right(answers, held_out) >= RIGHT_MIN


@pytest.mark.parametrize("model", MODELS)
def test_streamed_answers_are_the_same(client, held_out, model):
    """A streamed answer says what a whole one says."""
    for example in held_out[:8]:
        whole = client.chat.completions.create(**about(example, model)).choices[0].message.content
        stream = client.chat.completions.create(**about(example, model), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole


async def test_64_clients_of_both_models_each_get_the_answer_to_their_own_picture(async_client, numbers):
    """Under load, no request sees another's picture: each answer is what its picture gets when asked alone."""
    clients = asyncio.Semaphore(64)

    async def ask(model, example):
        async with clients:
            answer = await async_client.chat.completions.create(**about(example, model))
        return answer.choices[0].message.content

    asked = list(itertools.product(MODELS, numbers))
    alone = [await ask(model, example) for model, example in asked]
    at_once = await asyncio.gather(*(ask(model, example) for model, example in asked))
    assert at_once == alone
    for start in (0, len(numbers)):
        assert share_right(at_once[start : start + len(numbers)], numbers) >= RIGHT_MIN


async def test_an_async_stream_ends_with_its_usage(async_client, held_out):
    """The async client reads a stream to its usage chunk."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream = await async_client.chat.completions.create(**about(held_out[0]), **options)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.images == 1
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_images_in_one_request(client, held_out):
    """Every image of a request is counted and paid."""
    urls = [data_url(png(example)) for example in held_out[:3]]
    answer = client.chat.completions.create(model=MODEL, messages=asking("What do you see?", *urls), max_tokens=8)
    assert answer.usage.images == 3
    assert answer.usage.units == 3
    assert answer.usage.prompt_tokens_details.image_tokens == 3 * 16


def test_text_alone(client):
    """A request without an image is answered, and is one unit."""
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hello"}], max_tokens=4)
    assert answer.usage.images == 0
    assert answer.usage.units == 1


def test_an_image_by_url(client, image_server, held_out):
    """An image is fetched from a URL, by the gateway."""
    example = held_out[0]
    url = image_server({"/picture.png": png(example)})
    arguments = about(example) | {"messages": asking(example.question, f"{url}/picture.png")}
    answer = client.chat.completions.create(**arguments)
    whole = client.chat.completions.create(**about(example))
    assert answer.choices[0].message.content == whole.choices[0].message.content


def test_engine_parameters_pass_through(client, held_out):
    """What the engine supports reaches it: logprobs come back, a stop word stops, a seed repeats."""
    arguments = about(held_out[0])
    answer = client.chat.completions.create(**arguments, logprobs=True, top_logprobs=2, seed=7)
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
    longer = client.chat.completions.create(**arguments, extra_body={"ignore_eos": True})
    assert longer.usage.completion_tokens == 16


@pytest.mark.parametrize("model", MODELS)
def test_a_schema_is_kept_to_the_end_in_few_tokens(client, held_out, model):
    """White space costs none of them: these models would write nothing else."""
    colour = {"type": "string", "enum": ["red", "blue"]}
    schema = {"type": "object", "properties": {"colour": colour}, "required": ["colour"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "seen", "schema": schema, "strict": True}}
    asking = about(held_out[0], model) | {"max_completion_tokens": 40, "response_format": wanted}
    answer = client.chat.completions.create(**asking)
    assert json.loads(answer.choices[0].message.content)["colour"] in colour["enum"]
    assert answer.choices[0].finish_reason == "stop"


def test_models_are_listed_with_their_price(client):
    """A model is found by its name and by its alias, and shows what it costs and on which basis."""
    model, other = client.models.list()
    assert (model.id, other.id) == MODELS
    assert client.models.retrieve("demo").id == MODEL
    assert model.price_basis["kind"] == "estimate"
    assert float(model.pricing["image"]) * 1000 == float(model.price_per_1k_images)
