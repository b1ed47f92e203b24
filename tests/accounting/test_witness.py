"""R3 and R4: what an engine counted against what the ledger knows."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.command import Sample
from accounting.stay import Stay
from accounting.witness import CLOCK_SKEW_MS, UNSEEN_OUTPUT_TOKENS, Comparison, compare, mismatch_ratios

CONTEXT = 2_048


def sample(at_ms: int, prompt: int | None, output: int | None, slots_held: int = 1, in_flight: int = 0) -> Sample:
    busy = None if prompt is None else in_flight
    return Sample(
        replica_id="r",
        epoch="a",
        model="m",
        at_ms=at_ms,
        state="ready",
        rent_nano_per_hour=50,
        slots_held=slots_held,
        in_flight=busy,
        prompt_tokens=prompt,
        output_tokens=output,
    )


def stay(from_ms: int, to_ms: int, prompt: int = 100, output: int = 10, finish: str | None = "stop") -> Stay:
    return Stay(
        request_id=f"at {from_ms}",
        attempt=1,
        replica_id="r",
        model="m",
        from_ms=from_ms,
        to_ms=to_ms,
        finish=finish,
        prompt_tokens=prompt,
        output_tokens=output,
        charged_nano=1_000,
    )


def comparison(samples: list[Sample], stays: list[Stay]) -> Comparison:
    (one,) = compare(samples, stays, CONTEXT)
    return one


START = sample(0, 1_000, 500)


@pytest.mark.parametrize(
    ("stays", "prompt", "output", "witnessed", "ledger", "mismatch"),
    [
        ([], 0, 0, 0, 0, 0),
        ([stay(1_000, 2_000)], 100, 10, 110, 110, 0),
        ([stay(1_000, 3_000), stay(2_000, 4_000)], 200, 20, 220, 220, 0),
        # The engine did what no attempt claims, or the other way round.
        ([], 100, 10, 110, 0, 110),
        ([stay(1_000, 2_000)], 0, 0, 0, 110, 110),
        ([stay(1_000, 2_000)], 110, 0, 110, 110, 20),  # ten too many, ten too few
        # Cut off after a chunk: the prompt is known, the output is a range.
        ([stay(1_000, 2_000, finish=None)], 100, 10, 110, 110, 0),
        ([stay(1_000, 2_000, finish=None)], 100, 10 + UNSEEN_OUTPUT_TOKENS, 366, 110, 0),
        ([stay(1_000, 2_000, finish=None)], 100, 10 + UNSEEN_OUTPUT_TOKENS + 3, 369, 110, 3),
        ([stay(1_000, 2_000, finish=None)], 100, 9, 109, 110, 1),
        ([stay(1_000, 2_000, finish=None)], 101, 10, 111, 110, 1),
        # Cut off before: anything that fits into a context, or nothing.
        ([stay(1_000, 2_000, 64, 0, None)], 0, 0, 0, 0, 0),
        ([stay(1_000, 2_000, 64, 0, None)], 120, 500, 620, 0, 0),
        ([stay(1_000, 2_000, 64, 0, None)], CONTEXT + 1, 0, CONTEXT + 1, 0, 1),
    ],
)
def test_between_idle_moments_an_engine_counts_what_its_attempts_used(
    stays: list[Stay], prompt: int, output: int, witnessed: int, ledger: int, mismatch: int
):
    """R3: growth of the counters against the attempts in between."""
    one = comparison([START, sample(10_000, 1_000 + prompt, 500 + output)], stays)
    assert (one.witnessed_tokens, one.ledger_tokens, one.mismatch_tokens) == (witnessed, ledger, mismatch)


@pytest.mark.parametrize(
    ("in_flight", "stays"),
    [
        (1, [stay(1_000, 2_000), stay(12_000, 13_000)]),  # the engine runs something at 10 s
        (0, [stay(1_000, 2_000), stay(9_500, 13_000)]),  # an attempt's slot is held, as its gateway says
        (0, [stay(1_000, 10_000 - CLOCK_SKEW_MS + 1), stay(12_000, 13_000)]),  # its clock may be late
        (0, [stay(1_000, 2_000), stay(10_000 + CLOCK_SKEW_MS - 1, 13_000)]),  # or early
    ],
)
def test_a_busy_moment_compares_nothing(in_flight: int, stays: list[Stay]):
    """Counters read in the middle of an answer are compared at the next idle moment."""
    samples = [START, sample(10_000, 1_123, 500, in_flight=in_flight), sample(20_000, 1_200, 520)]
    assert comparison(samples, stays).mismatch_tokens == 0


def test_too_much_and_too_little_do_not_make_up_for_each_other():
    """Each time between two idle moments is compared by itself."""
    samples = [START, sample(10_000, 1_100, 500), sample(20_000, 1_100, 500)]
    assert comparison(samples, [stay(11_000, 12_000, 100, 0)]).mismatch_tokens == 200


def test_what_is_outside_of_idle_moments_is_not_compared():
    """The engine may have died with it, or not have been asked yet."""
    samples = [replace(START, at_ms=5_000), sample(10_000, 1_100, 510)]
    one = comparison(samples, [stay(1_000, 2_000), stay(6_000, 7_000), stay(11_000, 12_000)])
    assert (one.ledger_tokens, one.mismatch_tokens) == (110, 0)


def test_every_life_counts_from_its_own_beginning():
    """A new engine server's counters begin at zero; attempts belong to the server that ran then."""
    later = [replace(sample(at_ms, prompt, 0), epoch="b") for at_ms, prompt in ((20_000, 0), (30_000, 100))]
    lives = compare([START, sample(10_000, 1_100, 510), *later], [stay(1_000, 2_000), stay(21_000, 22_000)], CONTEXT)
    assert [(one.epoch, one.mismatch_tokens) for one in lives] == [("a", 0), ("b", 10)]


def test_an_attempt_is_its_own_replicas():
    """Another replica's tokens explain nothing."""
    one = comparison([START, sample(10_000, 1_100, 510)], [replace(stay(1_000, 2_000), replica_id="s")])
    assert one.mismatch_tokens == 110


@pytest.mark.parametrize(
    ("samples", "runaway"),
    [
        ([sample(0, 100, 10, 0), sample(10_000, 100, 10, 0)], 0),
        ([sample(0, 100, 10, 0), sample(10_000, 105, 12, 0)], 7),
        ([sample(0, 100, 10, 0), sample(10_000, 105, 12, 1)], 0),  # a slot was held since the sample before
        ([sample(0, 100, 10, 3), sample(10_000, 105, 12, 0)], 7),  # and none since this one
        ([sample(0, 100, 10, 0), sample(10_000, 100, 13, 0, in_flight=1)], 3),  # it still runs
        ([sample(0, 100, 10, 0), sample(5_000, None, None, 0), sample(10_000, 100, 13, 0)], 3),
        ([sample(0, 100, 10, 0), sample(20_001, 100, 13, 0)], 0),  # samples are missing in between
    ],
)
def test_an_engine_that_works_while_no_slot_is_held_runs_away(samples: list[Sample], runaway: int):
    """R4: work that was cancelled, and ran on."""
    assert comparison(samples, []).runaway_tokens == runaway


def test_an_engine_without_counters_is_unwitnessed():
    """Which is not the same as clean: it has no ratio at all."""
    one = comparison([sample(0, None, None), sample(10_000, None, None)], [stay(1_000, 2_000)])
    assert one == Comparison("r", "a", "m", unwitnessed=True)
    assert mismatch_ratios([one]) == {}


def test_a_server_that_never_was_ready_has_nothing_to_say():
    """Nor has the time before there was one."""
    assert compare([replace(START, state="loading"), replace(START, state="ended", epoch="")], [], CONTEXT) == []


@pytest.mark.parametrize(
    ("comparisons", "ratios"),
    [
        ([], {}),
        ([(0, 0, 0)], {"m": 0.0}),
        ([(1_000, 1_000, 0)], {"m": 0.0}),
        ([(1_000, 900, 100)], {"m": 0.1}),
        ([(900, 1_000, 100)], {"m": 0.1}),
        ([(100, 0, 100)], {"m": 1.0}),  # only the engine saw something
        ([(0, 100, 100)], {"m": 1.0}),
        ([(100, 100, 150)], {"m": 1.0}),  # wrong both ways: no more than all of it
        ([(1_000, 1_000, 0), (1_000, 800, 200)], {"m": 0.1}),
    ],
)
def test_the_metric_is_the_mismatch_of_a_model(comparisons: list[tuple[int, int, int]], ratios: dict[str, float]):
    """0 is agreement, 1 is none: (witnessed, ledger, mismatch) tokens of each life."""
    assert mismatch_ratios(Comparison("r", "a", "m", False, *tokens) for tokens in comparisons) == ratios


@dataclass
class Engine:
    """An engine as the witness and the gateway see it: samples at idle moments, stays between them."""

    samples: list[Sample]
    stays: list[Stay]


@st.composite
def engines(draw: st.DrawFn) -> Engine:
    """Bursts of overlapping attempts, an idle moment after each; some are cut off, the engine having gone on a little."""
    prompt, output, at_ms = draw(st.integers(0, 9)), draw(st.integers(0, 9)), 0
    engine = Engine([sample(0, prompt, output)], [])
    for burst in draw(st.lists(st.lists(st.tuples(*[st.integers(0, 500)] * 4, st.booleans()), max_size=4), max_size=5)):
        for start_ms, length_ms, tokens_in, tokens_out, cut_off in burst:
            from_ms = at_ms + 1_000 + start_ms
            prompt, output = prompt + tokens_in, output + tokens_out
            seen = max(0, tokens_out - UNSEEN_OUTPUT_TOKENS) if cut_off else tokens_out
            finish = None if cut_off else "stop"
            engine.stays.append(stay(from_ms, from_ms + length_ms, tokens_in, seen, finish))
        at_ms += 5_000
        engine.samples.append(sample(at_ms, prompt, output, slots_held=bool(burst)))
    return engine


@given(engines(), st.randoms())
def test_an_honest_engine_agrees_with_the_ledger(engine: Engine, random):
    """Whatever overlapped or was cut off, in whatever order rows come."""
    random.shuffle(engine.samples)
    random.shuffle(engine.stays)
    one = comparison(engine.samples, engine.stays)
    assert (one.mismatch_tokens, one.runaway_tokens, one.mismatch_ratio) == (0, 0, 0.0)


@given(engines(), st.data(), st.integers(1, 1_000))
def test_every_token_that_the_ledger_does_not_know_is_found(engine: Engine, data: st.DataObject, more: int):
    """Unless an attempt that was cut off may have used it."""
    engine.stays = [replace(one, finish="stop") for one in engine.stays]
    honest = comparison(engine.samples, engine.stays)
    since = data.draw(st.integers(1, len(engine.samples)))
    engine.samples.append(sample(10**6, engine.samples[-1].prompt_tokens, engine.samples[-1].output_tokens))
    engine.samples[since:] = [replace(one, prompt_tokens=one.prompt_tokens + more) for one in engine.samples[since:]]
    one = comparison(engine.samples, engine.stays)
    assert one.mismatch_tokens == honest.mismatch_tokens + more
    assert one.witnessed_tokens == honest.witnessed_tokens + more
