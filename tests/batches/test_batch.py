"""A batch as its owner sees it."""

import openai
import pytest

from deployments.batches.batch import ENDED, Asked, Fault, Progress, Status, batch_object, shown_status
from deployments.batches.tally import Tally
from deployments.files.file import Owner

ASKED = Asked("batch_1", Owner("org", "project"), "key_1", "file-1", 5_000, {"a": "b"})
RUNNING = Progress(Status.IN_PROGRESS, 10, Tally(3, 1, 40, 4, 9, 5_000), "m", in_progress_at_ms=6_000)


def test_a_batch_is_of_openais_shape():
    """Its client reads every field; what is ours comes beside them."""
    told = batch_object(ASKED, RUNNING, None)
    read = openai.types.Batch.model_validate(told, strict=True)
    assert read.usage
    assert read.request_counts
    assert read.expires_at == 5 + 86_400
    assert (read.request_counts.total, read.request_counts.completed, read.request_counts.failed) == (10, 3, 1)
    assert (read.usage.input_tokens, read.usage.output_tokens, read.usage.total_tokens) == (40, 9, 49)
    assert (told["usage"]["cost"], told["usage"]["cost_details"]["charged_nano"]) == (0.000005, 5_000)


def test_faults_are_listed():
    """By line, where it is one line's."""
    faults = (Fault("invalid_json_line", "Why.", 3, None), Fault("empty_file", "Why."))
    told = batch_object(ASKED, Progress(Status.FAILED, faults=faults, ended_at_ms=7_000), None)
    errors = openai.types.Batch.model_validate(told).errors
    assert errors
    assert errors.data
    assert [(one.code, one.line) for one in errors.data] == [("invalid_json_line", 3), ("empty_file", None)]
    assert told["failed_at"] == 7


@pytest.mark.parametrize("ended", ENDED)
def test_the_end_has_its_time(ended: Status):
    """Under its own name, and no other."""
    told = batch_object(ASKED, Progress(ended, ended_at_ms=7_000), None)
    assert {name for name in ENDED if told[f"{name}_at"]} == {ended}


@pytest.mark.parametrize(
    ("status", "ending", "wished", "shown"),
    [
        (Status.VALIDATING, None, None, Status.VALIDATING),
        (Status.VALIDATING, None, 1, Status.CANCELLING),
        (Status.IN_PROGRESS, None, 1, Status.CANCELLING),
        (Status.FINALIZING, Status.COMPLETED, None, Status.FINALIZING),
        (Status.FINALIZING, Status.COMPLETED, 1, Status.FINALIZING),
        (Status.FINALIZING, Status.CANCELLED, 1, Status.CANCELLING),
        (Status.COMPLETED, Status.COMPLETED, 1, Status.COMPLETED),
        (Status.CANCELLED, Status.CANCELLED, 1, Status.CANCELLED),
    ],
)
def test_a_wish_to_cancel_shows_until_the_end(status: Status, ending: Status | None, wished: int | None, shown: Status):
    """A batch that was done first is done."""
    assert shown_status(Progress(status, ending=ending), wished) is shown
