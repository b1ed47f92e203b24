from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.command import Sample
from accounting.life import SAMPLE_EVERY_MS, Life, lives_of


def sample(at_ms: int, state: str = "ready", epoch: str = "a", replica_id: str = "r") -> Sample:
    return Sample(replica_id=replica_id, epoch=epoch, model="m", at_ms=at_ms, state=state, rent_nano_per_hour=50)


def life(from_ms: int, ready_ms: int, to_ms: int, replica_id: str = "r") -> Life:
    return Life(replica_id, "m", 50, from_ms, ready_ms, to_ms)


@pytest.mark.parametrize(
    ("samples", "lives"),
    [
        ([], []),
        # Loads, serves, ends.
        ([sample(0, "loading"), sample(4_000), sample(14_000), sample(20_000, "ended")], [life(0, 4_000, 20_000)]),
        # Killed: one interval after its last sample.
        ([sample(0, "loading"), sample(4_000), sample(14_000)], [life(0, 4_000, 24_000)]),
        # Killed, or ended, before it was ready.
        ([sample(0, "loading"), sample(10_000, "loading")], [life(0, 20_000, 20_000)]),
        ([sample(0, "loading"), sample(5_000, "ended")], [life(0, 5_000, 5_000)]),
        # What was read of it begins in the middle.
        ([sample(34_000), sample(40_000, "ended")], [life(34_000, 34_000, 40_000)]),
        # The engine died at 14 s; a new server loads from 16 s on.
        (
            [sample(0), sample(14_000, "loading"), sample(16_000, "loading", "b"), sample(20_000, "ready", "b")],
            [life(0, 0, 16_000), life(16_000, 20_000, 30_000)],
        ),
        # Weights are fetched before there is an engine server.
        (
            [sample(0, "loading", ""), sample(7_000, "loading"), sample(9_000), sample(9_500, "ended")],
            [life(0, 7_000, 7_000), life(7_000, 9_000, 9_500)],
        ),
    ],
)
def test_lives(samples: list[Sample], lives: list[Life]):
    """From the first sample of a server to the next server's, or to the end."""
    assert lives_of(samples) == lives


def test_replicas_live_apart():
    """One's end is not the other's."""
    samples = [sample(0), sample(5_000, replica_id="s"), sample(8_000, "ended")]
    assert lives_of(samples) == [life(0, 0, 8_000), life(5_000, 5_000, 15_000, "s")]


SAMPLES = st.builds(
    sample,
    st.integers(0, 100_000),
    st.sampled_from(["loading", "ready", "ended"]),
    st.sampled_from("abc"),
    st.sampled_from("rs"),
)


@given(st.lists(SAMPLES, unique_by=lambda sample: (sample.replica_id, sample.epoch, sample.at_ms)), st.randoms())
def test_lives_of_a_replica_are_in_order_and_cover_all_its_samples(samples, random):
    """Whatever was lost, and in whatever order samples come: no time is paid twice, none between samples is free."""
    random.shuffle(samples)
    for replica_id in {sample.replica_id for sample in samples}:
        times = [sample.at_ms for sample in samples if sample.replica_id == replica_id]
        lives = [life for life in lives_of(samples) if life.replica_id == replica_id]
        assert all(life.from_ms <= life.ready_ms <= life.to_ms for life in lives)
        assert all(before.to_ms == after.from_ms for before, after in pairwise(lives))
        assert lives[0].from_ms == min(times)
        assert lives[-1].to_ms in (max(times), max(times) + SAMPLE_EVERY_MS)


@given(st.permutations([sample(0, "loading"), sample(0, "loading", "b"), sample(10_000), sample(20_000, "ended", "b")]))
def test_the_order_of_samples_is_their_time(samples: list[Sample]):
    """Rows come by replica and epoch; of two servers that began at once either may be first."""
    lives = [replace(life, ready_ms=0) for life in lives_of(samples)]
    assert lives == [life(0, 0, 0), life(0, 0, 20_000)]
