"""Policies side by side on real traces: GPU-hours as multiples of the best schedule that knows all arrivals.

python -m benchmarks.autoscaling TRACES [--starts 10,60,120,300] [--policies ours,static,serve,kpa,hpa] [--seeds 1] [--steps 6]

TRACES is the folder of the given traces. Each standard policy runs with its defaults and tuned in hindsight on the very
trace: every value that was tried is printed. Ours runs as it is. One core; a run is 10 to 40 s of it.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoscaling.observation import Policy
from autoscaling.policy import WorkPolicy
from autoscaling.simulator.baselines.hpa import Hpa
from autoscaling.simulator.baselines.kpa import Kpa
from autoscaling.simulator.baselines.standard import standard
from autoscaling.simulator.baselines.static import Static
from autoscaling.simulator.bound import lower_bound_gpu_hours
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.read import read
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.search import Tried, best, best_schedule, tuned
from autoscaling.simulator.trace import Trace
from deployments.scaling.ray_default import ServeDefault

# With the scale that makes a fleet of 14 to 20 GPUs of it.
TRACES = (("servegen-mm-image", 4.0), ("azure_lmm_2024_digitised_8min_days1to3.csv", 8.0))


@dataclass(frozen=True, slots=True)
class Family:
    """A standard policy, by the one parameter that people tune: from the cheapest to the dearest worth trying."""

    policy: Callable[[float], Policy]
    cheapest: float
    dearest: float


FAMILIES = {
    "static": Family(lambda replicas: Static(round(replicas)), 10, 100),
    "serve": Family(ServeDefault, 12, 0.5),
    "kpa": Family(Kpa, 16, 0.5),
    "hpa": Family(Hpa, 0.9, 0.15),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--starts", default="10,60,120,300", help="seconds")
    parser.add_argument("--policies", default="ours,static,serve,kpa,hpa")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6, help="of each search")
    asked = parser.parse_args()
    print(
        "| trace | start, s | seed | policy | GPU-hours | x best | x bound | met | worst hour | p99 TTFT, s | starts/h |"
    )
    print("|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    for file, scale in TRACES:
        for seed in range(asked.seeds):
            trace = read(asked.traces / file, seed, scale)
            for start_s in map(float, asked.starts.split(",")):
                setup = Setup(start=Start(start_s), seed=seed)
                for row in rows(trace, setup, asked.policies.split(","), asked.steps):
                    print(row, flush=True)


def rows(trace: Trace, setup: Setup, policies: list[str], steps: int) -> Iterator[str]:
    """The best schedule first, for the others are measured against it; the values that were tried after each search."""
    bound = lower_bound_gpu_hours(trace, work_s(trace, setup.replica), setup.slo, setup.start.median_s)
    target = setup.slo.target
    tried = best_schedule(trace, setup, steps=steps)
    found = best(tried, target)
    best_hours = found.result.gpu_hours if found else float("nan")

    def row(policy: str, result: Result) -> str:
        met = f"{result.attainment:.2%}" if result.attainment >= target else f"**{result.attainment:.2%}**"
        cells = [
            trace.name, f"{setup.start.median_s:g}", str(setup.seed), policy, f"{result.gpu_hours:,.0f}",
            f"{result.gpu_hours / best_hours:.2f}", f"{result.gpu_hours / bound:.2f}", met, f"{result.worst_hour:.2%}",
            f"{result.wait_p99_s:.1f}", f"{result.starts_per_hour:.0f}",
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"

    yield row("best schedule found, all arrivals known", found.result if found else tried[0].result)
    if "ours" in policies:
        yield row("ours", simulate(trace, WorkPolicy(), setup))
    defaults = standard(trace, setup) | {"serve": ServeDefault()}
    for name in (name for name in policies if name != "ours"):
        yield row(f"{name}, default", simulate(trace, defaults[name], setup))
        yield from _tuned(name, trace, setup, steps, row)


def _tuned(name: str, trace: Trace, setup: Setup, steps: int, row: Callable[[str, Result], str]) -> Iterator[str]:
    family = FAMILIES[name]
    tried = tuned(trace, family.policy, family.cheapest, family.dearest, setup, steps=steps)
    found = best(tried, setup.slo.target)
    yield row(
        f"{name}, tuned to {found.value:.3g}" if found else f"{name}: none meets the target", (found or tried[0]).result
    )
    yield f"<!-- {name}: {'; '.join(map(_shown, sorted(tried, key=lambda one: one.value)))} -->"


def _shown(tried: Tried) -> str:
    return f"{tried.value:.3g} -> {tried.result.gpu_hours:,.0f} GPU-h, {tried.result.attainment:.2%}"


if __name__ == "__main__":
    main()
