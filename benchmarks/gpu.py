"""Models of the real sizes, with random weights, on the GPU at hand: `python -m benchmarks.gpu --usd-per-hour 4.59`.

Images a second and TTFT of 1 to 64 clients, memory, and the price that `vlmfleet calibrate` makes of it beside the card's
estimate, as Markdown. How fast a model is depends on its shape, not on what it has learnt. `--tiny`: the same on a CPU.
"""

import argparse
import asyncio
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.report import markdown, percentile
from calibration.calibration import Calibration, Plan, calibrate, card_slo
from calibration.device import cpu_name, gpu_name
from calibration.engine import engine
from calibration.load import Load, Target
from calibration.measurement import WARM_UP_REQUESTS, Effort
from calibration.price import Rented, Terms
from calibration.search import Bounds, Point
from calibration.workload import Standard, body, standard
from catalog import ModelCard, load_catalog
from deployments.engines.environment import find_environment
from loadtests.slo import parse_slo
from loadtests.stream import Measured

CHECKOUT = Path(__file__).parent.parent
ENGINES = CHECKOUT / os.environ.get("VLMFLEET_ENGINES", ".venvs")
PARTS = CHECKOUT / "tests" / "models" / "tiny_vlms"  # tokenizers and processors
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
REQUESTS_PER_CLIENT = 6
REQUESTS_MIN = 16
GOODPUT_MIN = 0.99
USED_MEMORY = ("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits")
# A CPU that is busy with other things must not make a test of this script last for hours.
TINY_REQUEST = (224, 224, 16)
CPU_ACCELERATORS: dict[str, Any] = {"kind": "cpu", "count": 0, "usd_per_hour": "0.05"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A card, and the engine that it is measured on: an InternVL2 runs on both."""

    model: str
    engine: str
    version: str

    def __str__(self) -> str:
        return f"{self.model} on {self.engine}"


SUBJECTS = (
    Subject("qwen2-vl-2b-instruct", "vllm", "0.32.0"),
    Subject("qwen2-vl-7b-instruct", "vllm", "0.32.0"),
    Subject("qwen2.5-vl-3b-instruct", "vllm", "0.32.0"),
    Subject("internvl2-2b", "lmdeploy", "0.18.0"),
    Subject("internvl2-2b", "vllm", "0.32.0"),
)
# What an engine is told beside what the card says; InternVL2's card is that of LMDeploy.
VLLM_OPTIONS: dict[str, Any] = {"dtype": "bfloat16", "gpu-memory-utilization": 0.9, "max-num-batched-tokens": 8192}
TINY_OPTIONS: dict[str, dict[str, Any]] = {"vllm": {"dtype": "float32", "enforce-eager": True}, "lmdeploy": {}}


@dataclass(frozen=True, slots=True)
class Crowd:
    """What so many clients got, each of whom asks again as soon as it is answered."""

    clients: int
    seconds: float
    answers: list[Measured]

    @property
    def images_per_s(self) -> float:
        return len(self.answers) / self.seconds

    @property
    def ttfts_ms(self) -> list[float]:
        return [answer.ttft_ms for answer in self.answers]


@dataclass(frozen=True, slots=True)
class Result:
    subject: Subject
    crowds: list[Crowd]
    memory_gib: float
    calibration: Calibration


def subject_card(subject: Subject, weights: Path, *, tiny: bool) -> ModelCard:
    """The catalog's card, for random weights in `weights` and, if tiny, for a CPU. Pure."""
    card = load_catalog().pick([subject.model]).cards[0]
    options = dict(card.engine.options) if subject.engine == card.engine.name else dict(VLLM_OPTIONS)
    if tiny:
        options = dict(TINY_OPTIONS[subject.engine])
    if subject.model.startswith("internvl2"):
        options["trust-remote-code"] = True
    else:
        options["load-format"] = "dummy"
    changes: dict[str, Any] = {
        "source": {"path": str(weights)},
        "engine": {
            "name": subject.engine,
            "version": subject.version,
            "sequences_max": card.engine.sequences_max,
            "options": options,
            "environment": {"OMP_NUM_THREADS": "1"} if tiny else card.engine.environment,
        },
    }
    changes |= {"accelerators": CPU_ACCELERATORS} if tiny else {}
    return ModelCard.model_validate(card.model_dump() | changes)


def write_model(card: ModelCard, *, tiny: bool) -> None:
    """Seconds for a Qwen, which gets no weights; a minute for an InternVL2. The real size is that of the card."""
    python = find_environment(ENGINES, card.engine.name, card.engine.version).python
    flags = ["--tiny"] if tiny else []
    done = subprocess.run(
        [str(python), "-m", "benchmarks.checkpoints", card.served_name, str(card.source.path), *flags],
        cwd=CHECKOUT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{CHECKOUT}:{PARTS}"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    parameters = int(done.stdout.split()[-1])
    assert card.size, "the catalog's cards have one"
    assert parameters == card.size.parameters, f"{card.served_name} has {card.size.parameters}, not {parameters}"


async def measure(
    subject: Subject, folder: Path, rented: Rented, seconds: float, clients: Sequence[int], slo: str | None
) -> Result:
    """One model on one engine, alone. Raises what its parts raise."""
    tiny = rented.gpu.startswith("CPU")
    card = subject_card(subject, folder / str(subject).replace(" ", "-"), tiny=tiny)
    if not (Path(str(card.source.path)) / "config.json").exists():
        write_model(card, tiny=tiny)
    environment = find_environment(ENGINES, card.engine.name, card.engine.version)
    request = standard(card, *TINY_REQUEST) if tiny else standard(card)
    promised = parse_slo(slo, GOODPUT_MIN) if slo else card_slo(card, request.vision_tokens, GOODPUT_MIN)
    async with engine(card, environment, CHECKOUT, folder) as target:
        crowds = [await crowd(target, request, number) for number in clients]
        memory_gib = used_gib(tiny=tiny)
        plan = Plan(card, request, promised, rented, Terms())
        effort = Effort(seconds, Bounds(start=max(crowds[0].images_per_s / 2, 1 / 32)))
        found = await calibrate(plan, target, effort, datetime.now(UTC).date().isoformat(), _tell)
    return Result(subject, crowds, memory_gib, found)


async def crowd(target: Target, request: Standard, clients: int) -> Crowd:
    """A closed loop, warmed up with as many clients."""
    seeds = count(clients * 1_000_000)
    number = max(REQUESTS_MIN, REQUESTS_PER_CLIENT * clients)
    bodies = [body(request, next(seeds)) for _ in range(number)]
    answers: list[Measured] = []
    async with Load(target) as load:
        await load.warm_up(
            [body(request, next(seeds)) for _ in range(max(WARM_UP_REQUESTS, clients))], request.output_tokens
        )

        async def client(todo: Iterator[bytes]) -> None:
            answers.extend([await load.ask(each, time.perf_counter(), request.output_tokens) for each in todo])

        begin_s, todo = time.perf_counter(), iter(bodies)
        await asyncio.gather(*(client(todo) for _ in range(clients)))
        seconds = time.perf_counter() - begin_s
    print(f"  {clients} clients: {number / seconds:.2f} images/s", flush=True)
    return Crowd(clients, seconds, answers)


def used_gib(*, tiny: bool) -> float:
    """Of the first GPU; on a CPU, the resident memory of all that this process has started."""
    if tiny:
        return sum((child.memory_info().rss for child in psutil.Process().children(recursive=True)), 0) / 2**30
    return float(subprocess.run(USED_MEMORY, capture_output=True, text=True, check=True).stdout.split()[0]) / 1024


def render(results: Sequence[Result], rented: Rented) -> str:
    """Both tables. Pure."""
    speed = [
        [str(result.subject), str(crowd.clients), f"{crowd.images_per_s:.2f}", *_ttft(crowd)]
        for result in results
        for crowd in result.crowds
    ]
    prices = [_price(result) for result in results]
    return "\n\n".join(
        [
            f"Measured {datetime.now(UTC).date()} on {rented.gpu} at ${rented.usd_per_hour} an hour, random weights.",
            markdown(["model", "clients", "images/s", "TTFT p50 ms", "TTFT p99 ms"], speed),
            markdown(
                [
                    "model",
                    "memory GiB",
                    "images/s within the SLO",
                    "SLO",
                    "$ per 1k, measured",
                    "the card's",
                    "that was",
                ],
                prices,
            ),
        ]
    )


def _ttft(crowd: Crowd) -> list[str]:
    return [f"{median(crowd.ttfts_ms):.0f}", f"{percentile(crowd.ttfts_ms, 0.99):.0f}"]


def _price(result: Result) -> list[str]:
    found = result.calibration.as_json()
    return [
        str(result.subject),
        f"{result.memory_gib:.1f}",
        f"{found['images_per_s']:.2f}",
        found["slo"],
        found["usd_per_1k_images"],
        f"{found['usd_per_1k_images_before']} ({found['state_before']})",
        found["off_by"],
    ]


def _tell(point: Point) -> None:
    print(f"  {point.rate:.2f} images/s offered: {point.goodput:.1%} within the SLO", flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="tiny models, on the CPU")
    parser.add_argument("--models", nargs="*", default=[], help="parts of `model on engine`; default: all")
    parser.add_argument("--clients", nargs="*", type=int, default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each rate of the search is offered")
    parser.add_argument("--slo", help="such as ttft=2000,tpot=100, in milliseconds; default: each card's")
    parser.add_argument("--usd-per-hour", type=Decimal, help="rent of the GPU")
    parser.add_argument("--folder", type=Path, default=ENGINES / "bench-gpu", help="where the models are written")
    return parser.parse_args()


def _rented(asked: argparse.Namespace) -> Rented:
    if asked.tiny:
        return Rented(cpu_name(len(os.sched_getaffinity(0))), Decimal(CPU_ACCELERATORS["usd_per_hour"]))
    name = gpu_name()
    if name is None or asked.usd_per_hour is None:
        raise SystemExit("needs a GPU and its rent, --usd-per-hour; without a GPU: --tiny")
    return Rented(name, asked.usd_per_hour)


def main() -> None:
    asked = _asked()
    rented = _rented(asked)
    folder = asked.folder / ("tiny" if asked.tiny else "real")
    results = []
    for subject in SUBJECTS:
        if not asked.models or any(part in str(subject) for part in asked.models):
            print(f"{subject} ...", flush=True)
            run = measure(subject, folder.resolve(), rented, asked.seconds, asked.clients, asked.slo)
            results.append(asyncio.run(run))
    print(render(results, rented))


if __name__ == "__main__":
    main()
