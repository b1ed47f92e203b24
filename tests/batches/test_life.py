"""A batch from its beginning to its end, with a real gateway, ledger and engine."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.batches.batch import WINDOW_MS, Progress, Status
from deployments.batches.journal import Begun
from deployments.batches.line import Line
from deployments.files.file import Purpose
from tests.batches.office import LOOK_EVERY_S, OWNER, Office, line, running_office
from tests.gateway.engine_server import TEXT_TOKENS, VISION_TOKENS, WORDS, answers, dies_after, pauses_after, refuses
from tests.gateway.house import PRICE, question

# One image, 30 text tokens, three of output, at the unit price of batches.
BATCH_NANO = PRICE.batch_unit_nano + TEXT_TOKENS * PRICE.text_token_nano + len(WORDS) * PRICE.output_token_nano


async def test_every_line_is_answered_once_at_half_the_price(office: Office):
    """The whole of it, as its owner sees it."""
    async with office.worker():
        batch = await office.ended(await office.begin(*(line(f"line-{i}") for i in range(20))))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert batch["model"] == PRICE.model
    assert batch["error_file_id"] is None
    rows = await office.rows(batch["output_file_id"])
    assert sorted(row["custom_id"] for row in rows) == sorted(f"line-{i}" for i in range(20))
    assert {row["response"]["body"]["choices"][0]["message"]["content"] for row in rows} == {"".join(WORDS)}
    assert {(row["response"]["status_code"], row["error"]) for row in rows} == {(200, None)}
    assert batch["usage"]["input_tokens"] == 20 * (TEXT_TOKENS + VISION_TOKENS)
    assert batch["usage"]["cost_details"]["charged_nano"] == 20 * BATCH_NANO
    assert await office.house.charges_nano() == [BATCH_NANO] * 20


async def test_lines_are_as_every_program_writes_them(office: Office):
    """With a mark before them, carriage returns, blanks, and characters in texts that other programs take for a line's end."""
    said = "a\u2028b\u2029c\u0085d"
    lines = [line("a"), b"", line("b"), b"  ", line(said).replace(b"What is in the image?", said.encode())]
    async with office.worker():
        batch = await office.ended(await office.begin(b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    assert (batch["status"], batch["errors"]) == ("completed", None)
    content = (await office.ask("GET", f"/v1/files/{batch['output_file_id']}/content")).body.decode()
    assert sorted(json.loads(row)["custom_id"] for row in content.splitlines()) == ["a", said, "b"]


async def test_an_answer_is_told_of_as_any_request(office: Office):
    """At `/v1/generation`, under the id in the output file."""
    async with office.worker():
        batch = await office.ended(await office.begin(line()))
    (row,) = await office.rows(batch["output_file_id"])
    told = await office.ask("GET", f"/v1/generation?id={row['response']['request_id']}")
    assert (told.json["tier"], told.json["cost_details"]["charged_nano"]) == ("batch", BATCH_NANO)


async def test_what_is_wrong_with_a_line_is_its_own_business(office: Office):
    """It goes to the error file, with the gateway's words; the others are answered."""
    broken = question(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}])
    async with office.worker():
        batch = await office.ended(await office.begin(line("good"), line("bad", broken)))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    (row,) = await office.rows(batch["error_file_id"])
    assert row["custom_id"] == "bad"
    assert row["response"]["status_code"] == 400
    assert row["response"]["body"]["error"]["param"] == "messages[0].content[0].image_url"
    assert await office.house.charges_nano() == [BATCH_NANO]


@pytest.mark.parametrize("lines", [[], [b"", b"  "], [b"{"], [line("a"), line("a")]])
async def test_a_file_with_faults_is_not_begun(office: Office, lines: list[bytes]):
    """Nothing of it is asked."""
    async with office.worker():
        batch = await office.ended(await office.begin(*lines))
    assert batch["status"] == "failed"
    assert batch["failed_at"]
    assert batch["errors"]["data"][0]["code"]
    assert office.house.engine.asked == []


async def test_an_engine_that_breaks_off_is_asked_again(office: Office):
    """It may have been its replica's end; a line that always ends it so is given up."""
    office.house.engine.behaves = dies_after(0)
    async with office.worker():
        batch_id = await office.begin(line())
        await office.house.engine.was_asked(1)
        office.house.engine.behaves = answers
        assert (await office.ended(batch_id))["request_counts"]["completed"] == 1
        asked = len(office.house.engine.asked)
        office.house.engine.behaves = dies_after(0)
        batch = await office.ended(await office.begin(line()))
    assert batch["request_counts"]["failed"] == 1
    assert len(office.house.engine.asked) == asked + 3
    assert await office.house.charges_nano() == [BATCH_NANO]


async def test_what_an_engine_refuses_is_final(office: Office):
    """Asking again would not help."""
    office.house.engine.behaves = refuses(400, "bad grammar")
    async with office.worker():
        batch = await office.ended(await office.begin(line()))
    assert batch["request_counts"]["failed"] == 1
    assert len(office.house.engine.asked) == 1


async def test_lines_without_credit_go_to_the_error_file(tmp_path: Path):
    """Waiting would not help; nothing is charged for them."""
    async with running_office(tmp_path, grant_nano=3 * BATCH_NANO) as office:
        # One at a time: what another line only holds is not spent yet.
        office.around = replace(office.around, at_once=1)
        body = question(max_completion_tokens=len(WORDS))
        async with office.worker():
            batch = await office.ended(await office.begin(*(line(f"{i}", body) for i in range(5))))
        errors = [row["response"]["body"]["error"] for row in await office.rows(batch["error_file_id"])]
        assert {error["code"] for error in errors} == {"credit_balance_exhausted"}
        assert 0 < batch["request_counts"]["completed"] < 5
        assert await office.house.charges_nano() == [BATCH_NANO] * batch["request_counts"]["completed"]


async def test_a_cancelled_batch_begins_no_line_any_more(office: Office):
    """Those that run are seen to their end, and count; the others are named in the error file."""
    office.house.engine.behaves = pauses_after(0)
    async with office.worker():
        batch_id = await office.begin(*(line(f"{i:02}") for i in range(40)))
        await office.house.engine.was_asked(16)
        cancelled = await office.ask("POST", f"/v1/batches/{batch_id}/cancel")
        assert cancelled.json["status"] == "cancelling"
        assert cancelled.json["cancelling_at"]
        for i in range(16):
            office.house.engine.resume(i)
        batch = await office.ended(batch_id)
    assert batch["status"] == "cancelled"
    assert batch["cancelled_at"] >= batch["cancelling_at"]
    completed, failed = batch["request_counts"]["completed"], batch["request_counts"]["failed"]
    assert (completed + failed, len(office.house.engine.asked)) == (40, completed)
    assert completed == len(await office.rows(batch["output_file_id"]))
    errors = {row["error"]["code"] for row in await office.rows(batch["error_file_id"])}
    assert errors == {"batch_cancelled"}
    assert await office.house.charges_nano() == [BATCH_NANO] * completed


async def test_a_batch_that_is_cancelled_before_it_is_looked_at_runs_nothing(office: Office):
    """All of its lines are in the error file."""
    batch_id = await office.begin(line("a"), line("b"))
    await office.ask("POST", f"/v1/batches/{batch_id}/cancel")
    async with office.worker():
        batch = await office.ended(batch_id)
    assert (batch["status"], batch["request_counts"]["failed"]) == ("cancelled", 2)
    assert office.house.engine.asked == []


async def test_a_batch_expires_after_its_window(office: Office):
    """What was answered by then is in the output file, the rest in the error file."""
    batch_id = await office.begin(line("a"), line("b"))
    office.house.clock.ms += WINDOW_MS
    async with office.worker():
        batch = await office.ended(batch_id)
    assert batch["status"] == "expired"
    assert batch["expired_at"] >= batch["expires_at"]
    assert {row["error"]["code"] for row in await office.rows(batch["error_file_id"])} == {"batch_expired"}
    assert office.house.engine.asked == []


async def test_a_revoked_keys_lines_are_not_run(office: Office):
    """Not even those of a batch that it made before."""
    batch_id = await office.begin(line("a"), line("b"))
    await office.house.change_key(revoked_at_ms=office.house.clock.ms)
    office.house.clock.ms += 1
    async with office.worker():
        await until_closed(office, batch_id)
    progress = await office.book.progress(batch_id)
    assert (progress.tally.completed, progress.tally.failed) == (0, 2)
    assert office.house.engine.asked == []


async def test_lines_of_a_file_that_was_deleted_meanwhile_do_not_run(office: Office):
    """They are told so, by name."""
    office.house.engine.behaves = pauses_after(0)
    async with office.worker():
        batch_id = await office.begin(*(line(f"{i:02}") for i in range(20)))
        await office.house.engine.was_asked(16)
        await office.files.remove(OWNER, (await office.batch(batch_id))["input_file_id"])
        for i in range(16):
            office.house.engine.resume(i)
        batch = await office.ended(batch_id)
    assert batch["request_counts"] == {"total": 20, "completed": 16, "failed": 4}
    assert {row["error"]["code"] for row in await office.rows(batch["error_file_id"])} == {"input_file_deleted"}


async def test_a_batch_leaves_its_files_and_its_state_and_nothing_else(office: Office):
    """The journal and the plan were only for the way."""
    async with office.worker():
        batch_id = await office.begin(line("a"), line("b", question(n=2)))
        await until_closed(office, batch_id)
    folder = office.house.file.parent / "files"
    left = sorted(str(path.relative_to(folder).parts[0]) for path in folder.rglob("*") if path.is_file())
    assert left == ["batches", *["contents"] * 3, *["files"] * 3, "progress", "worker"]


async def until_closed(office: Office, batch_id: str) -> None:
    """Return when the worker has nothing to do with the batch any more."""
    while batch_id in (await office.book.queue()).ids:  # noqa: ASYNC110  # it is in files
        await asyncio.sleep(LOOK_EVERY_S)


async def test_an_image_may_be_a_file(office: Office):
    """Uploaded once, named in many lines."""
    async with office.files.draft(OWNER) as draft:
        await draft.write(Path("demo/example.png").read_bytes())  # noqa: ASYNC240  # nobody waits
        file = await draft.keep("example.png", Purpose.VISION)
    content = [{"type": "image_url", "image_url": {"url": file.id}}, {"type": "text", "text": "What is it?"}]
    body = question(messages=[{"role": "user", "content": content}])
    async with office.worker():
        batch = await office.ended(await office.begin(line("a", body), line("b", body)))
    assert batch["request_counts"]["completed"] == 2
    assert await office.house.charges_nano() == [BATCH_NANO] * 2


@pytest.mark.parametrize(("days", "told"), [(2, "completed"), (7, "failed")])
async def test_a_line_that_may_have_run_is_asked_for_as_long_as_its_answer_is_kept(
    office: Office, days: int, told: str
):
    """Later it would be charged again."""
    batch_id = await office.begin(line("a"))
    await office.book.publish(batch_id, Progress(Status.IN_PROGRESS, 1))
    await office.book.keep_plan(batch_id, [Line(1, 0, len(line("a")), "a", PRICE.model)])
    await office.book.journal(batch_id).append([Begun(PRICE.model, 1)])
    office.house.clock.ms += days * 24 * 3_600_000
    async with office.worker():
        batch = await office.ended(batch_id)
    assert batch["request_counts"][told] == 1
