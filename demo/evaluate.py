"""Exact answers of a demo model on held-out images, through its engine: `make demo-eval`.

    python -m demo.evaluate demo-internvl2

Starts the engine's own server on the committed weights as a replica would, asks 32 questions at a time, and prints the
share of answers that equal the right one letter by letter.
"""

import argparse
import asyncio
import base64
import io
import json
from collections import defaultdict
from pathlib import Path

import aiohttp

from catalog import ModelCard, load_catalog
from demo.generate import HELD_OUT_SEED, Example, examples
from deployments.engines.environment import find_environment
from deployments.engines.started import StartedEngine, started

CHECKOUT = Path(__file__).parent.parent
AT_ONCE = 32


def question(card: ModelCard, example: Example) -> bytes:
    """A chat completion that asks one example's question."""
    png = io.BytesIO()
    example.image.save(png, "PNG")
    url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": example.question}]
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": card.served_name, "messages": messages, "temperature": 0, "max_tokens": 16}).encode()


async def right_by_task(engine: StartedEngine, card: ModelCard, asked: list[Example]) -> dict[str, list[bool]]:
    """Ask everything, `AT_ONCE` at a time; whether each answer was exactly right, by task."""
    right: dict[str, list[bool]] = defaultdict(list)
    remaining = iter(asked)

    async def ask(session: aiohttp.ClientSession) -> None:
        for example in remaining:
            async with session.post(f"{engine.url}/v1/chat/completions", data=question(card, example)) as response:
                response.raise_for_status()
                answer = (await response.json())["choices"][0]["message"]["content"]
            right[example.task].append(answer == example.answer)

    headers = {"authorization": f"Bearer {engine.token}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(ask(session) for _ in range(AT_ONCE)))
    return right


async def evaluate(card: ModelCard, weights: Path, seed: int, count: int) -> float:
    """Print a line a task and return the share of right answers over all."""
    environment = find_environment(CHECKOUT / ".venvs", card.engine.name, card.engine.version)
    async with started(card, environment, weights) as engine:
        right = await right_by_task(engine, card, list(examples(seed, count)))
    for task, outcomes in sorted(right.items()):
        print(f"{task:6} {sum(outcomes):4} of {len(outcomes):4}  {sum(outcomes) / len(outcomes):.1%}")
    total = [outcome for outcomes in right.values() for outcome in outcomes]
    print(f"exact answers: {sum(total)} of {len(total)}, {sum(total) / len(total):.1%}")
    return sum(total) / len(total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="demo-qwen2-vl")
    parser.add_argument("--weights", type=Path, help="instead of those that the model's card names")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    card = load_catalog().pick([args.model]).cards[0]
    weights = args.weights or CHECKOUT / str(card.source.path)
    asyncio.run(evaluate(card, weights, args.seed, args.count))


if __name__ == "__main__":
    main()
