"""Generate images with questions and answers: what the demo models are trained and judged on.

    python -m demo.generate --seed S --count N --out DIR

writes `000000.png` ... and `labels.jsonl` with `file`, `task`, `question`, `answer`. The same seed gives the same
examples. Held-out sets use seeds from `HELD_OUT_SEED` on, which training never draws from.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE_PX = 112
HELD_OUT_SEED = 1_000_000
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 180, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 50),
    "purple": (150, 60, 190),
    "orange": (245, 140, 30),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle")
SHAPES_MAX = 5
DIGITS_MAX = 4

QUESTIONS = {
    "name": (
        "What is in the image?",
        "What is in this image?",
        "What do you see?",
        "Name the colour and shape.",
    ),
    "count": (
        "How many shapes are there?",
        "How many shapes?",
        "Count the shapes.",
    ),
    "read": (
        "What number is in the image?",
        "What is the number?",
        "Read the number.",
    ),
    "left": (
        "What is on the left?",
        "Which shape is on the left?",
    ),
    "right": (
        "What is on the right?",
        "Which shape is on the right?",
    ),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One RGB image of `SIZE_PX` x `SIZE_PX`, what is asked about it, and the only right answer."""

    image: Image.Image
    task: str
    question: str
    answer: str


def draw_name(rng: random.Random) -> Example:
    """One shape anywhere: "red circle"."""
    image, draw = _canvas(rng)
    colour, shape, radius = _colour(rng), rng.choice(SHAPES), rng.randint(14, 34)
    margin = radius + 1
    centre = (rng.randint(margin, SIZE_PX - margin), rng.randint(margin, SIZE_PX - margin))
    _draw_shape(draw, shape, colour, centre, radius)
    return _example(rng, image, "name", phrase(colour, shape))


def draw_count(rng: random.Random) -> Example:
    """One to `SHAPES_MAX` shapes, each in its own cell of a 3 x 3 grid: "3"."""
    image, draw = _canvas(rng)
    count = rng.randint(1, SHAPES_MAX)
    for cell in rng.sample(range(9), count):
        centre = (20 + 36 * (cell % 3) + rng.randint(-4, 4), 20 + 36 * (cell // 3) + rng.randint(-4, 4))
        _draw_shape(draw, rng.choice(SHAPES), _colour(rng), centre, rng.randint(9, 13))
    return _example(rng, image, "count", str(count))


def draw_read(rng: random.Random, digits: int | None = None) -> Example:
    """A number of `digits` digits (one to `DIGITS_MAX` if not given), leading zeros included: "0427"."""
    image, draw = _canvas(rng)
    number = "".join(rng.choice("0123456789") for _ in range(digits or rng.randint(1, DIGITS_MAX)))
    centre = (SIZE_PX / 2 + rng.randint(-6, 6), SIZE_PX / 2 + rng.randint(-12, 12))
    ink = rng.choice(((0, 0, 0), (255, 255, 255)))
    draw.text(centre, number, font=_font(rng.choice((36, 42))), fill=ink, anchor="mm", stroke_width=1)
    return _example(rng, image, "read", number)


def draw_side(rng: random.Random) -> Example:
    """Two shapes side by side, asked about one of them: "blue square"."""
    image, draw = _canvas(rng)
    names: dict[str, str] = {}
    for side, x in (("left", 28), ("right", 84)):
        colour, shape, radius = _colour(rng), rng.choice(SHAPES), rng.randint(12, 22)
        centre = (x + rng.randint(-5, 5), rng.randint(radius + 1, SIZE_PX - radius - 1))
        _draw_shape(draw, shape, colour, centre, radius)
        names[side] = phrase(colour, shape)
    side = rng.choice(("left", "right"))
    return _example(rng, image, side, names[side])


TASKS: tuple[Callable[[random.Random], Example], ...] = (draw_name, draw_count, draw_read, draw_side)


def examples(seed: int, count: int) -> Iterator[Example]:
    """Yield `count` examples, the tasks in equal shares. Each depends on the seed and its own position only."""
    for index in range(count):
        yield TASKS[index % len(TASKS)](random.Random(f"{seed}/{index}"))


def write(out: Path, seed: int, count: int) -> None:
    """Write the PNG files and `labels.jsonl` into `out`, which is made if it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "labels.jsonl").open("w", encoding="utf-8") as labels:
        for index, example in enumerate(examples(seed, count)):
            file = f"{index:06}.png"
            example.image.save(out / file)
            row = {"file": file, "task": example.task, "question": example.question, "answer": example.answer}
            labels.write(json.dumps(row) + "\n")


def _canvas(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    # Grey, so that every colour stands out from it.
    grey = rng.randint(100, 170)
    image = Image.new("RGB", (SIZE_PX, SIZE_PX), (grey, grey, grey))
    return image, ImageDraw.Draw(image)


def phrase(colour: str, shape: str) -> str:
    """What a shape is called, without an article: "red circle"."""
    return f"{colour} {shape}"


def _colour(rng: random.Random) -> str:
    return rng.choice(tuple(COLOURS))


def _example(rng: random.Random, image: Image.Image, task: str, answer: str) -> Example:
    return Example(image, task, rng.choice(QUESTIONS[task]), answer)


def _draw_shape(draw: ImageDraw.ImageDraw, shape: str, colour: str, centre: tuple[int, int], radius: int) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        draw.rectangle(box, fill=COLOURS[colour])
    else:
        corners = [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)]
        draw.polygon(corners, fill=COLOURS[colour])


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # Pillow carries its own font, so the pictures are the same on every machine.
    font = ImageFont.load_default(size=size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
    return font


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write(args.out, args.seed, args.count)


if __name__ == "__main__":
    main()
