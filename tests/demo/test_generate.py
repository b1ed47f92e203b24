import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from demo.generate import COLOURS, DIGITS_MAX, QUESTIONS, SHAPES, SIZE_PX, Example, draw_read, examples, phrase, write

PHRASES = {phrase(colour, shape) for colour in COLOURS for shape in SHAPES}


@pytest.fixture(scope="module")
def drawn() -> list[Example]:
    return list(examples(seed=7, count=400))


def same(one: Example, other: Example) -> bool:
    labels = (one.task, one.question, one.answer) == (other.task, other.question, other.answer)
    return labels and one.image.tobytes() == other.image.tobytes()


def test_the_same_seed_gives_the_same_examples(drawn: list[Example]):
    """Images and labels; and a longer run begins with the shorter one."""
    assert all(map(same, examples(seed=7, count=40), drawn[:40]))


def test_another_seed_gives_other_examples(drawn: list[Example]):
    """Held-out images are not those of training."""
    assert not any(map(same, examples(seed=8, count=40), drawn[:40]))


def test_tasks_have_equal_shares(drawn: list[Example]):
    """Left and right are the two halves of one task."""
    counts = Counter("side" if example.task in {"left", "right"} else example.task for example in drawn)
    assert counts == {"name": 100, "count": 100, "read": 100, "side": 100}


def test_images_have_one_size(drawn: list[Example]):
    """112 x 112 px are 16 vision tokens of 28 x 28 px."""
    assert {(example.image.mode, example.image.size) for example in drawn} == {("RGB", (SIZE_PX, SIZE_PX))}


def test_questions_belong_to_their_task(drawn: list[Example]):
    """Every question of every task is asked, and no other."""
    asked = {(example.task, example.question) for example in drawn}
    assert asked == {(task, question) for task, questions in QUESTIONS.items() for question in questions}


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        ("name", PHRASES),
        ("left", PHRASES),
        ("right", PHRASES),
        ("count", {"1", "2", "3", "4", "5"}),
    ],
)
def test_answers_are_few(drawn: list[Example], task: str, answers: set[str]):
    """Shapes are named by colour and shape, and there are one to five of them."""
    assert {example.answer for example in drawn if example.task == task} <= answers


def test_numbers_have_up_to_four_digits(drawn: list[Example]):
    """Every length occurs, leading zeros included."""
    numbers = [example.answer for example in drawn if example.task == "read"]
    assert all(re.fullmatch(r"[0-9]{1,4}", number) for number in numbers)
    assert {len(number) for number in numbers} == set(range(1, DIGITS_MAX + 1))
    assert any(number.startswith("0") for number in numbers)


def test_a_number_can_be_drawn_with_a_given_length():
    """What is judged by its length is drawn by its length."""
    assert len(draw_read(random.Random(7), digits=3).answer) == 3


def test_a_shape_is_called_by_colour_and_form():
    """Without an article, so that an answer is as short as it can be."""
    assert phrase("orange", "circle") == "orange circle"


def test_what_is_written(tmp_path: Path, drawn: list[Example]):
    """One PNG an example, and its label in the same line of `labels.jsonl`."""
    out = tmp_path / "held" / "out"
    write(out, seed=7, count=5)
    rows = [json.loads(line) for line in (out / "labels.jsonl").read_text().splitlines()]
    assert rows == [
        {"file": f"00000{i}.png", "task": one.task, "question": one.question, "answer": one.answer}
        for i, one in enumerate(drawn[:5])
    ]
    for row, example in zip(rows, drawn, strict=False):
        with Image.open(out / row["file"]) as image:
            assert image.tobytes() == example.image.tobytes()
