"""Files and batches on the real fleet, by OpenAI's own client: images, half the price, a worker that is killed."""

import io
import json
import os
import signal

import openai
import pytest

from demo.generate import Example
from tests.e2e.cluster import MODEL, Cluster, about, png, wait_until

ENDED = ("failed", "completed", "expired", "cancelled")
BATCH_PRICE_USD = 0.000005
WORKER = "BatchWorker"


def jsonl(bodies: list[dict]) -> io.BytesIO:
    """A batch's file; the custom id of each line is its place."""
    lines = [
        {"custom_id": f"{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for i, body in enumerate(bodies)
    ]
    return io.BytesIO("\n".join(map(json.dumps, lines)).encode())


def begin(client: openai.OpenAI, bodies: list[dict]) -> str:
    """Ask for a batch. Returns its id."""
    file = client.files.create(file=("input.jsonl", jsonl(bodies)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "e2e"}
    ).id


def ended(client: openai.OpenAI, batch_id: str) -> openai.types.Batch:
    wait_until(lambda: client.batches.retrieve(batch_id).status in ENDED)
    return client.batches.retrieve(batch_id)


def answers(client: openai.OpenAI, file_id: str) -> dict[int, dict]:
    """The lines of a file, by their place in the input."""
    rows = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows)
    return {int(row["custom_id"]): row for row in rows}


def test_a_batch_of_images_is_answered_at_half_the_price(
    cluster: Cluster, client: openai.OpenAI, held_out: list[Example]
):
    before = {row["request_id"] for row in cluster.usage_rows()}
    batch = ended(client, begin(client, [about(example) for example in held_out]))
    assert (batch.status, batch.error_file_id, batch.model) == ("completed", None, MODEL)
    assert (batch.request_counts.total, batch.request_counts.completed) == (len(held_out), len(held_out))
    assert batch.metadata == {"run": "e2e"}
    told = answers(client, batch.output_file_id)
    right = [
        told[i]["response"]["body"]["choices"][0]["message"]["content"] == one.answer for i, one in enumerate(held_out)
    ]
    assert sum(right) >= 0.9 * len(right)
    assert {row["response"]["body"]["usage"]["cost"] for row in told.values()} == {BATCH_PRICE_USD}
    charged = [row for row in cluster.usage_rows() if row["request_id"] not in before]
    assert [(row["tier"], row["charged_nano"]) for row in charged] == [("batch", 5_000)] * len(held_out)


def test_an_image_may_be_a_file(client: openai.OpenAI, held_out: list[Example]):
    image = client.files.create(file=("image.png", png(held_out[0])), purpose="vision")
    body = about(held_out[0])
    body["messages"][0]["content"][0] = {"type": "image_url", "image_url": {"url": image.id}}
    batch = ended(client, begin(client, [about(held_out[0]), body]))
    told = answers(client, batch.output_file_id)
    contents = [row["response"]["body"]["choices"][0]["message"]["content"] for row in told.values()]
    assert len(contents) == 2
    assert len(set(contents)) == 1


def test_a_worker_that_is_killed_is_started_again_and_goes_on(
    cluster: Cluster, client: openai.OpenAI, numbers: list[Example]
):
    before = {row["request_id"] for row in cluster.usage_rows()}
    batch_id = begin(client, [about(example) for example in numbers])
    wait_until(lambda: any(row["request_id"] not in before for row in cluster.usage_rows()))
    (worker,) = cluster.processes(WORKER)
    os.kill(worker, signal.SIGKILL)
    batch = ended(client, batch_id)
    assert (batch.status, batch.request_counts.completed) == ("completed", len(numbers))
    assert len(answers(client, batch.output_file_id)) == len(numbers)
    charged = [row["charged_nano"] for row in cluster.usage_rows() if row["request_id"] not in before]
    assert sum(charged) == 5_000 * len(numbers)
    assert cluster.open_holds() == 0


def test_a_batch_is_cancelled(client: openai.OpenAI, numbers: list[Example]):
    batch_id = begin(client, [about(example) for example in numbers])
    assert client.batches.cancel(batch_id).status in ("cancelling", "cancelled")
    batch = ended(client, batch_id)
    assert batch.status == "cancelled"
    assert batch.request_counts.completed + batch.request_counts.failed == len(numbers)
    errors = answers(client, batch.error_file_id).values()
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    assert batch_id in {one.id for one in client.batches.list(limit=1)}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch_id)
