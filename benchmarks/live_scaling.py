"""Our autoscaling and Ray Serve's default in the same live scenario: `python -m benchmarks.live_scaling work serve`.

Two models share four GPUs; bursts come to one, then to the other. Ray with six nodes, real engines on the CPU; GPUs are
counted by Ray, and `benchmarks.shares` makes them real: each engine server has 30 % of a core for itself. Load is open
and seeded, so both policies see the same requests at the same seconds. Needs `redis-server` and `make engine-transformers`.
"""

import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import openai
import yaml

from benchmarks.shares import Shares
from catalog.card import Slo
from demo.generate import HELD_OUT_SEED, Example, examples
from tests.e2e.cluster import about
from tests.e2e.rendered import Fleet, Folders, card, one_pool, running

RESULTS = Path(__file__).parent / "results" / "live_scaling.jsonl"
WORK, SERVE = "work", "serve"
GPUS = 4
POOL = "transformers-l4"
FIRST, SECOND = MODELS = ("demo-first", "demo-second")
OUTPUT_TOKENS = 32
VISION_TOKENS = 16
SLO = Slo()
SEED = 7
SAMPLE_S = 1.0
# Closed loop, to learn what one replica can do.
CAPACITY_CLIENTS, CAPACITY_S = 8, 45.0
FLEET = one_pool(GPUS, deadline_s=120)


@dataclass(frozen=True, slots=True)
class Phase:
    """Rates are multiples of what one replica can do."""

    name: str
    seconds: float
    rates: tuple[float, float]


SCENARIO = (
    Phase("calm", 60, (0.3, 0.3)),
    Phase("burst for the first", 200, (2.2, 0.3)),
    Phase("burst for the second", 200, (0.3, 2.2)),
    Phase("calm again", 140, (0.3, 0.3)),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float
    model: str
    phase: str
    example: int


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `ttft_ms` is None if no token came, and then `error` says why."""

    phase: str
    model: str
    ttft_ms: float | None
    latency_ms: float
    error: str = ""

    @property
    def kept(self) -> bool:
        """The card's SLO."""
        return (
            self.ttft_ms is not None
            and not self.error
            and self.ttft_ms <= SLO.answer_ms(VISION_TOKENS, 1)
            and self.latency_ms <= SLO.answer_ms(VISION_TOKENS, OUTPUT_TOKENS)
        )


@dataclass(slots=True)
class Run:
    """`replicas` are those on a node, whatever their state, once a second: rent runs from placement to the end of the drain."""

    policy: str
    capacity: float
    asked: list[Asked] = field(default_factory=list)
    replicas: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    @property
    def gpu_s(self) -> float:
        steps = zip(self.replicas, self.replicas[1:], strict=False)
        return sum((after - at) * sum(counts.values()) for (at, counts), (after, _) in steps)

    def attainment(self, phase: str | None = None) -> float:
        chosen = [one for one in self.asked if phase in (None, one.phase)]
        return sum(one.kept for one in chosen) / len(chosen)


def arrivals(capacity: float) -> list[Arrival]:
    """Poisson, the same for each policy."""
    drawn, begin = [], 0.0
    for phase in SCENARIO:
        for model, rate in zip(MODELS, phase.rates, strict=True):
            rng = random.Random(f"{SEED}/{phase.name}/{model}")
            at = begin
            while (at := at + rng.expovariate(rate * capacity)) < begin + phase.seconds:
                drawn.append(Arrival(at, model, phase.name, rng.randrange(40)))
        begin += phase.seconds
    return sorted(drawn, key=lambda each: each.at_s)


def cards(work_s: float) -> dict[str, dict[str, Any]]:
    """Both at least one replica: Serve's default cannot start from none through a queue in front of it."""
    work = {"request_s": work_s, "vision_token_s": 0.0, "text_token_s": 0.0, "output_token_s": 0.0}
    scaling = {"replicas_min": 1, "replicas_max": GPUS - 1, "start_s": 60.0, "work": work}
    made = {name: card(name, "L4", autoscaling=scaling) for name in MODELS}
    for one in made.values():
        one["engine"] |= {"sequences_max": 8, "environment": {"OMP_NUM_THREADS": "1"}}
        one["engine"]["options"] |= {"batch-sequences-max": 4}
    return made


def by_serve(folder: Path) -> None:
    """Ray Serve's defaults instead of our policy: the bounds alone are set, and no governor runs."""
    config = yaml.safe_load((folder / "serve-config.yaml").read_text())
    config["applications"] = [one for one in config["applications"] if one["name"] != "scaling"]
    for application in config["applications"]:
        for name in MODELS:
            if application["name"] == f"model-{name}":
                bounds = {"min_replicas": 1, "max_replicas": GPUS - 1}
                application["deployments"] = [{"name": f"Engine-{name}", "autoscaling_config": bounds}]
    (folder / "serve-config.yaml").write_text(yaml.safe_dump(config))


@contextmanager
def fleet(policy: str, work_s: float) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="live-") as folder, Shares():
        folders = Folders(*(Path(folder, name) for name in ("overlay", "cards", "home")))
        for one in (folders.overlay, folders.cards, folders.home):
            one.mkdir()
        (folders.overlay / "fleet.yaml").write_text(FLEET)
        folders.render(cards(work_s))
        if policy == SERVE:
            by_serve(folders.overlay)
        with running(folders) as started:
            for _ in range(GPUS - 1):
                started.do("add", POOL)
            started.deploy()
            yield started


async def ask(client: openai.AsyncOpenAI, model: str, example: Example, phase: str) -> Asked:
    begun_s, first_s = time.perf_counter(), None
    body = about(example, model) | {"max_completion_tokens": OUTPUT_TOKENS, "extra_body": {"ignore_eos": True}}
    try:
        async for chunk in await client.chat.completions.create(**body, stream=True):
            if first_s is None and chunk.choices and chunk.choices[0].delta.content:
                first_s = time.perf_counter()
    except openai.APIError as error:
        return Asked(phase, model, None, (time.perf_counter() - begun_s) * 1000, f"{type(error).__name__} {error.code}")
    ttft_ms = (first_s - begun_s) * 1000 if first_s is not None else None
    return Asked(phase, model, ttft_ms, (time.perf_counter() - begun_s) * 1000, "" if first_s else "no token")


async def offered(fleet: Fleet, plan: list[Arrival]) -> list[Asked]:
    """Each at its second, whatever became of those before."""
    asked = list(examples(HELD_OUT_SEED, 40))
    async with openai.AsyncOpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0, timeout=150) as client:
        begun_s = time.perf_counter()
        tasks = []
        for one in plan:
            await asyncio.sleep(max(0.0, begun_s + one.at_s - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, one.model, asked[one.example], one.phase)))
        await asyncio.sleep(max(0.0, begun_s + sum(phase.seconds for phase in SCENARIO) - time.perf_counter()))
        return await asyncio.gather(*tasks)


async def capacity(fleet: Fleet) -> float:
    """Requests a second of one replica, with more clients than it batches."""
    asked = list(examples(HELD_OUT_SEED, 40))
    async with openai.AsyncOpenAI(base_url=fleet.url, api_key=fleet.key, max_retries=0, timeout=150) as client:
        end_s = time.perf_counter() + CAPACITY_S

        async def loop(which: int) -> int:
            count = 0
            while time.perf_counter() < end_s:
                answer = await ask(client, FIRST, asked[(which + count) % 40], "capacity")
                assert not answer.error, answer.error
                count += 1
            return count

        counts = await asyncio.gather(*(loop(which) for which in range(CAPACITY_CLIENTS)))
        return sum(counts) / CAPACITY_S


def watch(fleet: Fleet, run: Run, ended: threading.Event) -> None:
    begun_s = time.perf_counter()
    while not ended.wait(SAMPLE_S):
        placed = fleet.do("placement")
        counts = {model: len(placed.get(f"Engine-{model}", [])) for model in MODELS}
        run.replicas.append((time.perf_counter() - begun_s, counts))


def measured(policy: str, rate: float) -> Run:
    run, ended = Run(policy, rate), threading.Event()
    with fleet(policy, 1 / rate) as started:
        watcher = threading.Thread(target=watch, args=(started, run, ended))
        watcher.start()
        try:
            run.asked = asyncio.run(offered(started, arrivals(rate)))
        finally:
            ended.set()
            watcher.join()
        print(started.verified(), end="")
    return run


def one_replica() -> float:
    """What a replica can do, on a fleet that has no reason to start another."""
    with fleet(SERVE, 1.0) as started:
        return asyncio.run(capacity(started))


def table(runs: list[Run]) -> str:
    lines = [
        "| policy | requests | attainment | "
        + " | ".join(phase.name for phase in SCENARIO)
        + " | errors | GPU-seconds |",
        "|---|" + "--:|" * (len(SCENARIO) + 4),
    ]
    for run in runs:
        shares = " | ".join(f"{run.attainment(phase.name):.1%}" for phase in SCENARIO)
        errors = sum(bool(one.error) for one in run.asked)
        lines.append(
            f"| {run.policy} | {len(run.asked)} | {run.attainment():.1%} | {shares} | {errors} | {run.gpu_s:.0f} |"
        )
    return "\n".join(lines)


def main(policies: list[str]) -> None:
    rate = one_replica()
    print(f"one replica: {rate:.2f} requests a second", flush=True)
    runs = []
    for policy in policies:
        runs.append(measured(policy, rate))
        with RESULTS.open("a") as out:
            out.write(json.dumps(asdict(runs[-1])) + "\n")
        print(table(runs), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or [WORK, SERVE])
