import pytest

from accounting.stay import Stay, stays_of

ROW = {
    "request_id": "r1",
    "attempt": 2,
    "replica_id": "replica",
    "finish": "stop",
    "images": 1,
    "text_tokens": 64,
    "vision_tokens": 1_196,
    "cached_tokens": 1_000,
    "output_tokens": 150,
    "ttft_ms": 80,
    "latency_ms": 900,
    "charged": 1,
    "slot_from_ms": 1_000,
    "slot_to_ms": 1_900,
    "model": "m",
    "charged_nano": 1_341_000,
}


def test_a_stay_is_an_attempts_time_on_its_replica():
    """Its prompt is text and vision tokens together, as the engine counts them; cached ones are among them."""
    assert stays_of([ROW]) == [Stay("r1", 2, "replica", "m", 1_000, 1_900, "stop", 1_260, 150, 1_341_000)]


@pytest.mark.parametrize(("charged", "charged_nano", "paid"), [(1, 0, 0), (0, 1_341_000, None), (0, None, None)])
def test_only_the_attempt_that_was_charged_has_its_requests_charge(
    charged: int, charged_nano: int | None, paid: object
):
    """A free model's attempt is charged zero; one before the charged attempt is not charged at all."""
    (stay,) = stays_of([ROW | {"charged": charged, "charged_nano": charged_nano}])
    assert stay.charged_nano == paid
