"""`make bench-replica-model`: the simulator's replica model against the engine itself, at loads that it was not fitted on.

The bare engine on this machine's CPU (the card of `benchmarks/cards`) gets open-loop Poisson load: pictures of several sizes,
answers of several lengths. Its capacity is measured first, with everything sent at once; loads are shares of that. The step
time is fitted to some loads and foretells the others. The fit goes to `autoscaling/fits/`, with its errors.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from autoscaling.simulator.calibrate import LoadPoint, errors, fit
from autoscaling.simulator.replica import PUBLISHED, ReplicaModel
from autoscaling.simulator.trace import Trace
from benchmarks.batching_load import EVENT, Ask, body
from benchmarks.stacks import Stack, bare, bench_card

FITTED, LEFT_OUT = (0.2, 0.5, 0.9), (0.35, 0.65, 0.8)
RESULTS = Path(__file__).parent / "results"
COLUMNS = ("t_s", "vision_tokens", "text_tokens", "output_tokens", "first_s", "finish_s")
PATCH_PX = 28  # of a vision token
WIDTHS_PX = (56, 224, 448, 672)
OUTPUT_TOKENS = (8, 96)
WARM_UP = 24
FLOOD = 120  # requests at once, for the capacity
REQUEST_S_MAX = 300.0
KEEP_S = 2.0  # a connection: the engine's server closes it after five, in the midst of a next request
# Where the fit begins: a tiny model on a CPU. The limits are the card's and vLLM's own on a CPU.
GUESS = ReplicaModel(
    step_s=5e-3, sequence_s=0.3e-3, token_s=10e-6, vision_token_s=30e-6, request_s=10e-3,
    sequences=64, step_tokens=2_048, step_vision_tokens=2_048, kv_tokens=2_000_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """`due_s` is from the beginning of the measurement."""

    due_s: float
    picture: int
    width_px: int
    output_tokens: int

    @property
    def vision_tokens(self) -> int:
        return (self.width_px // PATCH_PX) ** 2

    def body(self) -> bytes:
        """A chat completion of exactly so many tokens, with a picture that no other has."""
        request = json.loads(body(Ask("", self.width_px, self.picture)))
        usage = {"include_usage": True}
        return json.dumps(request | {"max_tokens": self.output_tokens, "stream_options": usage}).encode()


@dataclass(frozen=True, slots=True)
class Told:
    """When the first byte of the answer's body came, and the last; how long the prompt was, vision tokens included."""

    first_s: float
    finish_s: float
    prompt_tokens: int


def questions(count: int, rate_per_s: float, seed: int) -> list[Question]:
    """Poisson arrivals; `rate_per_s` infinite: all at once."""
    rng = np.random.default_rng(seed)
    due_s = np.cumsum(rng.exponential(1 / rate_per_s, count))
    widths = rng.choice(WIDTHS_PX, count)
    outputs = rng.integers(*OUTPUT_TOKENS, count, endpoint=True)
    return [
        Question(float(due_s[index]), seed * 1_000_000 + index, int(widths[index]), int(outputs[index]))
        for index in range(count)
    ]


async def measured(stack: Stack, asked: Sequence[Question]) -> LoadPoint:
    """Each question at its time, whatever became of the others. Raises aiohttp.ClientError if one is not answered."""
    bodies = [question.body() for question in asked]  # not while the clock runs
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_S),
        timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX),
        headers={"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"},
        raise_for_status=True,
    ) as session:
        start_s = time.perf_counter()
        told = await asyncio.gather(
            *(
                _told(session, stack.url, data, question.due_s, start_s)
                for question, data in zip(asked, bodies, strict=True)
            )
        )
    vision = np.array([question.vision_tokens for question in asked])
    sent = Trace.of(
        "",
        np.array([question.due_s for question in asked]),
        vision,
        np.array([one.prompt_tokens for one in told]) - vision,
        np.array([question.output_tokens for question in asked]),
    )
    return LoadPoint(sent, np.array([one.first_s for one in told]), np.array([one.finish_s for one in told]))


async def _told(session: aiohttp.ClientSession, url: str, data: bytes, due_s: float, start_s: float) -> Told:
    await asyncio.sleep(max(0.0, start_s + due_s - time.perf_counter()))
    first_s, parts = 0.0, []
    async with session.post(f"{url}/v1/chat/completions", data=data) as response:
        async for part in response.content.iter_any():
            first_s = first_s or time.perf_counter() - start_s
            parts.append(part)
    last = [line for line in b"".join(parts).splitlines() if line.startswith(EVENT)][-2]  # before the end: the usage
    usage = json.loads(last.removeprefix(EVENT))["usage"]
    return Told(first_s, time.perf_counter() - start_s, usage["prompt_tokens"])


def points(stack: Stack, loads: Sequence[float], seconds: float) -> tuple[float, list[LoadPoint]]:
    """The capacity in requests a second, and each load for about so many seconds."""
    asyncio.run(measured(stack, questions(WARM_UP, 4.0, seed=1)))
    capacity = asyncio.run(measured(stack, questions(FLOOD, np.inf, seed=2))).throughput
    print(f"capacity: {capacity:.1f} requests a second", flush=True)
    found = []
    for seed, load in enumerate(loads, start=3):
        count = max(round(load * capacity * seconds), WARM_UP)
        found.append(asyncio.run(measured(stack, questions(count, load * capacity, seed))))
    return capacity, found


def keep(busy: float, capacity: float, found: Sequence[LoadPoint]) -> None:
    """In `benchmarks/results/`: another model can be fitted to the same requests."""
    file = RESULTS / f"replica-model-{time.strftime('%Y%m%d-%H%M%S')}.npz"
    columns = {
        f"{index}/{name}": column
        for index, point in enumerate(found)
        for name, column in (*asdict(point.sent).items(), ("first_s", point.first_s), ("finish_s", point.finish_s))
        if name in COLUMNS
    }
    np.savez(file, busy=busy, capacity=capacity, **columns)
    print(f"kept in {file}", flush=True)


def kept(file: Path) -> tuple[float, float, list[LoadPoint]]:
    """What `keep` wrote."""
    columns = np.load(file)
    count = len({name.partition("/")[0] for name in columns.files if "/" in name})
    found = []
    for index in range(count):
        t_s, vision, text, output, first_s, finish_s = (columns[f"{index}/{name}"] for name in COLUMNS)
        found.append(LoadPoint(Trace.of("", t_s, vision, text, output), first_s, finish_s))
    return float(columns["busy"]), float(columns["capacity"]), found


def rows(model: ReplicaModel, loads: Sequence[float], found: Sequence[LoadPoint]) -> list[dict[str, Any]]:
    return [
        {
            "load": load,
            "fitted": load in FITTED,
            "requests": len(point.sent),
            "requests_per_s": round(point.throughput, 3),
            "ttft_p95_s": round(point.ttft_p95_s, 4),
            "throughput_error": round(throughput, 4),
            "ttft_p95_error": round(ttft, 4),
        }
        for load, point, (throughput, ttft) in zip(loads, found, errors(model, found).tolist(), strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--to", type=Path, default=PUBLISHED.with_name("bench-qwen2-vl-cpu.json"))
    parser.add_argument("--points", type=Path, help="fit to what an earlier run kept in benchmarks/results/")
    asked = parser.parse_args()
    card = bench_card()
    loads = sorted((*FITTED, *LEFT_OUT))
    if asked.points:
        busy, capacity, found = kept(asked.points)
    else:
        busy = os.getloadavg()[0]
        with bare(card) as stack:
            capacity, found = points(stack, loads, asked.seconds)
        keep(busy, capacity, found)
    guess = replace(GUESS, sequences=card.engine.sequences_max)
    model = fit(guess, [point for load, point in zip(loads, found, strict=True) if load in FITTED])
    table = rows(model, loads, found)
    report = {
        "model": card.id,
        "hardware": f"CPU, {os.cpu_count()} cores",
        "engine": f"{card.engine.name} {card.engine.version}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "source": "python -m benchmarks.replica_model",
        **asdict(model),
        "machine_load_at_start": round(busy, 1),
        "capacity_requests_per_s": round(capacity, 2),
        "points": table,
        "mean_error_left_out": _mean_errors(table),
    }
    asked.to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def _mean_errors(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of the loads that were left out of the fit, without their signs."""
    left_out = [row for row in table if not row["fitted"]]
    return {
        name: round(float(np.mean([abs(row[f"{name}_error"]) for row in left_out])), 4)
        for name in ("throughput", "ttft_p95")
    }


if __name__ == "__main__":
    main()
