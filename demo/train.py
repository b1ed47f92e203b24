"""Train a demo model on two CPU cores: `make demo-train` (one to two hours each).

    python -m demo.train qwen2-vl --out demo/qwen2-vl --steps 9000
    python -m demo.train internvl2 --out demo/internvl2 --steps 3000 --taught-by demo/qwen2-vl

The curriculum is one rule: practise what you get wrong. Numbers start with one digit; a digit is added once the
numbers so far are mostly read right. Without that rule numbers stay unlearnt for thousands of steps. A checkpoint
(weights, optimizer, curriculum, step) is written every `--save-every` steps, and `--resume` continues from it.
"""

import argparse
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from demo.generate import DIGITS_MAX, Example, draw_count, draw_name, draw_read, draw_side
from demo.internvl2 import InternVl2
from demo.qwen2_vl import Qwen2Vl
from demo.teacher import Teacher, learn_from
from demo.words import IGNORED

BATCH = 48
LEARNING_RATE = 8e-4
WARMUP_STEPS = 200
UNLOCK_BELOW = 0.6
TAUGHT_STEPS = 400


class Learner(Protocol):
    """A demo model while it is trained."""

    network: PreTrainedModel

    def encode(self, batch: Sequence[Example]) -> Mapping[str, Tensor]:
        """The network's inputs, (batch, longest) and the pictures, with `labels` on the answers only."""

    def save(self, out: Path) -> None:
        """Write a checkpoint as its engine loads a released one."""


LEARNERS: dict[str, Callable[[], Learner]] = {"qwen2-vl": Qwen2Vl, "internvl2": InternVl2}


def reader(digits: int) -> Callable[[random.Random], Example]:
    """A task that asks for numbers of exactly `digits` digits."""
    return lambda rng: draw_read(rng, digits)


LESSONS: dict[str, Callable[[random.Random], Example]] = {
    "name": draw_name,
    "count": draw_count,
    "side": draw_side,
} | {f"read {digits}": reader(digits) for digits in range(1, DIGITS_MAX + 1)}


def any_lesson(rng: random.Random) -> Example:
    """All pictures alike: to learn to see needs no curriculum."""
    return rng.choice(list(LESSONS.values()))(rng)


@dataclass
class Curriculum:
    """The share of wrong answers of each unlocked lesson, smoothed over its last 100 or so examples."""

    wrong: dict[str, float] = field(default_factory=lambda: dict.fromkeys(["name", "count", "side", "read 1"], 1.0))

    def draw(self, rng: random.Random) -> str:
        """A lesson, in proportion to what is still wrong in it; none is ever dropped."""
        lessons = list(self.wrong)
        return rng.choices(lessons, [max(self.wrong[lesson], 0.06) for lesson in lessons])[0]

    def learn(self, lessons: Sequence[str], right: Sequence[bool]) -> None:
        """Take in one batch's outcome, and unlock one more digit when the longest numbers are mostly right."""
        for lesson, ok in zip(lessons, right, strict=True):
            self.wrong[lesson] += 0.01 * ((not ok) - self.wrong[lesson])
        digits = sum(lesson.startswith("read") for lesson in self.wrong)
        if digits < DIGITS_MAX and self.wrong[f"read {digits}"] < UNLOCK_BELOW:
            self.wrong[f"read {digits + 1}"] = 1.0


def rate(step: int, steps: int) -> float:
    """Learning rate as a share of its peak: warm up, hold, then fall to nothing over the second half."""
    return min(1.0, (step + 1) / WARMUP_STEPS, max(0.01, (steps - step) / (steps / 2)))


def exact(logits: torch.Tensor, labels: torch.Tensor) -> list[bool]:
    """Whether every answer token of a row, the end included, is the most likely one. Logits: (batch, length, words)."""
    guess, label = logits[:, :-1].argmax(-1), labels[:, 1:]
    return ((guess == label) | (label == IGNORED)).all(1).tolist()


def train(learner: Learner, out: Path, steps: int, seed: int, save_every: int, resume: bool) -> None:
    """Train for `steps` steps and write the finished model to `out`; checkpoints go beside it."""
    network = learner.network
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=0.05, betas=(0.9, 0.95))
    curriculum, first = Curriculum(), 0
    checkpoint = out.with_suffix(".checkpoint.pt")
    if resume:
        saved = torch.load(checkpoint)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        curriculum, first = Curriculum(saved["wrong"]), saved["step"]

    started = time.monotonic()
    for step in range(first, steps):
        loss = _step(learner, optimizer, curriculum, random.Random(f"{seed}/{step}"), rate(step, steps))
        if step % 50 == 49:
            wrong = "  ".join(f"{lesson} {share:.2f}" for lesson, share in curriculum.wrong.items())
            print(f"step {step + 1}  {time.monotonic() - started:.0f} s  loss {loss:.3f}  wrong: {wrong}", flush=True)
        if (step + 1) % save_every == 0:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state | {"wrong": curriculum.wrong, "step": step + 1}, checkpoint)
    learner.save(out)


def _step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    curriculum: Curriculum,
    rng: random.Random,
    share_of_rate: float,
) -> float:
    lessons = [curriculum.draw(rng) for _ in range(BATCH)]
    inputs = learner.encode([LESSONS[lesson](rng) for lesson in lessons])
    output = learner.network(**inputs)
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * share_of_rate
    optimizer.zero_grad()
    output.loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.network.parameters(), 1.0)
    optimizer.step()
    curriculum.learn(lessons, exact(output.logits, inputs["labels"]))
    return float(output.loss.detach())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=LEARNERS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--taught-by", type=Path, help="internvl2: the trained demo Qwen2-VL to begin from")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    learner = LEARNERS[args.model]()
    if isinstance(learner, InternVl2) and args.taught_by and not args.resume:
        learn_from(Teacher(args.taught_by), learner, any_lesson, TAUGHT_STEPS, args.seed)
    train(learner, args.out, args.steps, args.seed, args.save_every, args.resume)


if __name__ == "__main__":
    main()
