import pytest

from catalog import CardError, ModelCard, load_catalog
from catalog.memory import Fit, check_memory, fits, kv_bytes_per_token, memory_of

CATALOG = load_catalog()
CARDS = [card for card in CATALOG if card.size]
QWEN_7B = CATALOG.find("qwen2-vl-7b-instruct")


def on(card: ModelCard, kind: str, count: int = 1) -> ModelCard:
    return card.model_copy(update={"accelerators": card.accelerators.model_copy(update={"kind": kind, "count": count})})


@pytest.mark.parametrize(
    ("model", "weights_gib", "kv_bytes"),
    [
        ("qwen2-vl-7b-instruct", 15.44, 57_344),  # 2 * 28 layers * 4 heads * 128 * 2 bytes
        ("qwen2-vl-2b-instruct", 4.11, 28_672),
        ("qwen2.5-vl-7b-instruct", 15.45, 57_344),
        ("qwen2.5-vl-3b-instruct", 6.99, 36_864),
        ("internvl2-2b", 4.11, 98_304),
        ("llava-1.5-7b", 13.16, 524_288),
        ("llava-1.5-13b", 24.87, 819_200),
        ("paligemma-3b-mix-224", 5.45, 18_432),
        ("paligemma2-10b-mix-448", 18.0, 344_064),
        ("paligemma2-28b-mix-448", 51.5, 376_832),
        ("smolvlm2-256m-video-instruct", 0.48, 23_040),
        ("moondream2", 3.59, 196_608),
        ("qwen-vl-chat", 17.99, 524_288),
    ],
)
def test_weights_and_kv_cache_follow_from_the_configuration(model: str, weights_gib: float, kv_bytes: int):
    """Two bytes a parameter; a key and a value a head and layer."""
    card = CATALOG.find(model)
    assert memory_of(card).weights_gib == pytest.approx(weights_gib, abs=0.006)
    assert kv_bytes_per_token(card.size) == kv_bytes


def test_the_terms_of_qwen2_vl_7b():
    """One context of 8,192 tokens, and as many of the largest images as it holds: six."""
    memory = memory_of(QWEN_7B)
    assert memory.kv_gib == 8_192 * 57_344 / 2**30
    assert memory.encoder_gib == 6 * 5_120 * 1_280 * 10 * 2 / 2**30  # patches * width * vectors * bytes
    assert memory.runtime_gib == 3.0  # because its weights are above 6 GiB
    assert memory.total_gib == pytest.approx(15.44 + 0.44 + 0.73 + 3.0, abs=0.02)


def test_what_is_left_holds_more_sequences():
    """0.9 * 22.5 GiB of an L4, less all but the cache, by 0.4375 GiB a sequence."""
    assert memory_of(QWEN_7B).sequences("L4") == 2  # (20.25 - 19.18) / 0.4375
    assert memory_of(QWEN_7B).sequences("A100-80") == 119  # (71.37 - 19.18) / 0.4375


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("qwen2-vl-2b-instruct", {"L4": 1, "A10G": 1, "L40S": 1, "A100-80": 1, "H100": 1, "H200": 1}),
        ("llava-1.5-13b", {"L4": 2, "A10G": 2, "L40S": 1, "A100-80": 1, "H100": 1, "H200": 1}),
        ("paligemma2-28b-mix-448", {"L4": 4, "A10G": 4, "L40S": 2, "A100-80": 1, "H100": 1, "H200": 1}),
        ("qwen-vl-chat", {"L40S": 1, "A100-80": 1, "H100": 1, "H200": 1}),  # its heads were never divided
    ],
)
def test_the_fewest_accelerators_of_each_kind(model: str, expected: dict[str, int]):
    """One where one is enough; more only as far as the heads can be divided."""
    assert {fit.kind: fit.count for fit in fits(CATALOG.find(model))} == expected


def test_a_head_of_the_cache_is_never_cut():
    """PaliGemma has one: two accelerators hold it twice."""
    card = CATALOG.find("paligemma-3b-mix-448")
    assert memory_of(card, 2).kv_gib == memory_of(card, 1).kv_gib
    assert memory_of(card, 2).weights_gib == memory_of(card, 1).weights_gib / 2


def test_too_little_memory_is_refused_with_what_fits():
    """The arithmetic is in the message, and so is the way out."""
    with pytest.raises(CardError) as refusal:
        check_memory(on(CATALOG.find("paligemma2-28b-mix-448"), "L40S"))
    assert str(refusal.value) == (
        "paligemma2-28b-mix-448 does not fit 1 x L40S: on each it needs 55.2 GiB "
        "(weights 51.5, one sequence 0.7, encoder 0.0, runtime 3.0), and 40.4 can be used. "
        "It fits 4 x L4, 4 x A10G, 2 x L40S, 1 x A100-80, 1 x H100, 1 x H200; correct the card's accelerators"
    )


@pytest.mark.parametrize("kind", ["cpu", "MI300X"])
def test_an_accelerator_that_is_not_known_is_the_operators_choice(kind: str):
    """Nothing is claimed about it."""
    check_memory(on(QWEN_7B, kind))


def test_a_card_without_its_size_cannot_be_reckoned():
    """The message says what to add."""
    with pytest.raises(CardError, match="has no `size`"):
        memory_of(CATALOG.find("demo-qwen2-vl"))


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.served_name)
def test_every_card_fits_the_accelerators_that_it_names(card: ModelCard):
    """With at least one whole context, over a count that its heads allow."""
    check_memory(card)
    assert card.accelerators.count in card.size.tensor_parallel
    assert Fit(
        card.accelerators.kind, card.accelerators.count, memory_of(card).sequences(card.accelerators.kind)
    ) in fits(card)
