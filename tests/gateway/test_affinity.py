"""The ring's two promises: little moves when a replica comes or goes, and none is busier than the bound."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.affinity import LOAD_MAX, affinity_key, choose, ring_of
from deployments.gateway.media.picture import Picture
from deployments.gateway.request import ChatRequest

KEYS = [f"image-{i}" for i in range(300)]
REPLICAS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True)


def owners(replicas: list[str]) -> dict[str, str]:
    return {key: next(ring_of(tuple(replicas)).walk(key)) for key in KEYS}


@given(REPLICAS, st.integers(0, 7))
def test_only_the_keys_of_a_replica_that_leaves_move(replicas: list[str], leaving: int):
    """And the other way round: one that comes takes keys for itself, and moves none between the others."""
    gone = replicas[leaving % len(replicas)]
    rest = [replica for replica in replicas if replica != gone]
    if not rest:
        return
    before, after = owners(replicas), owners(rest)
    assert all(before[key] in (gone, after[key]) for key in KEYS)


def test_keys_are_spread_evenly():
    counts = Counter(owners(["a", "b", "c", "d"]).values())
    assert max(counts.values()) < 1.6 * len(KEYS) / 4


@given(REPLICAS)
def test_the_order_of_the_replicas_does_not_matter(replicas: list[str]):
    """Every gateway makes the same ring."""
    assert owners(replicas) == owners(replicas[::-1])


@given(REPLICAS, st.text())
def test_a_walk_meets_every_replica_once(replicas: list[str], key: str):
    assert sorted(ring_of(tuple(replicas)).walk(key)) == sorted(replicas)


@given(REPLICAS, st.lists(st.tuples(st.sampled_from(KEYS[:5]), st.integers(1, 5000)), max_size=80))
def test_no_replica_gets_more_than_its_bound(replicas: list[str], requests: list[tuple[str, int]]):
    """Above 1.25 times the mean only if it has room for two such requests, or was the least busy of all."""
    loads = Counter[str]()
    for key, tokens in requests:
        chosen = choose(key, tokens, tuple(replicas), loads)
        least = min(loads[replica] for replica in replicas)
        loads[chosen] += tokens
        bound = max(LOAD_MAX * loads.total() / len(replicas), 2 * tokens)
        assert loads[chosen] <= bound or loads[chosen] - tokens == least


def test_a_busy_replica_passes_a_request_on_to_the_next_on_the_ring():
    first, second, third = ring_of(("a", "b", "c")).walk("image-1")
    assert choose("image-1", 100, ("a", "b", "c"), {}) == first
    assert choose("image-1", 100, ("a", "b", "c"), {first: 1000, third: 50}) == second


def chat(*contents: str) -> ChatRequest:
    roles = ("system", *("user", "assistant") * len(contents))
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return ChatRequest.model_validate({"model": "m", "messages": messages})


def test_requests_with_the_same_first_image_belong_together():
    one, other = Picture("data:1", "sha-1", 16), Picture("data:2", "sha-2", 16)
    assert affinity_key(chat("s", "x"), [one, other]) == affinity_key(chat("s", "y"), [one]) == "sha-1"


def test_the_turns_of_a_conversation_belong_together():
    first = affinity_key(chat("s", "hello"), [])
    assert affinity_key(chat("s", "hello", "hi", "how are you?"), []) == first
    assert affinity_key(chat("s", "another"), []) != first
