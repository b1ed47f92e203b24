"""Policies side by side on real traces: GPU-hours as multiples of the best schedule that knows all arrivals.

python -m benchmarks.autoscaling TRACES [--starts 120,10,60,300] [--policies ours,static,serve,kpa,hpa] [--seeds 1] [--steps 4]

TRACES is the folder of the given traces. Each standard policy runs with its defaults and tuned in hindsight on the very
trace: every value that was tried is printed. Ours runs as it is. One core; a run is 10 to 60 s of it. Runs of all but ours
are kept in `benchmarks/results/autoscaling.jsonl`, so that what was broken off goes on; `--fresh` forgets them.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from autoscaling.observation import Policy
from autoscaling.policy import WorkPolicy
from autoscaling.simulator.baselines.hpa import Hpa
from autoscaling.simulator.baselines.kpa import Kpa
from autoscaling.simulator.baselines.standard import KPA_SHARE, static_peak
from autoscaling.simulator.baselines.static import Static
from autoscaling.simulator.bound import lower_bound_gpu_hours
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.read import read
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.search import Tried, best, best_schedule, tuned
from autoscaling.simulator.trace import Trace
from deployments.scaling.ray_default import ServeDefault

KEPT = Path(__file__).with_name("results") / "autoscaling.jsonl"
# With the scale that makes a fleet of 14 to 20 GPUs of it.
TRACES = {
    "mm-image": ("servegen-mm-image.tar.xz", 4.0),
    "azure-lmm": ("azure_lmm_2024_digitised_8min_days1to3.csv", 8.0),
}
HEADER = """\
| trace | start, s | seed | policy | GPU-hours | x best | x bound | met | worst hour | p99 TTFT, s | starts/h |
|---|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|"""


@dataclass(frozen=True, slots=True)
class Family:
    """A standard policy, by the one parameter that people tune: from the cheapest to the dearest worth trying."""

    policy: Callable[[float], Policy]
    default: Callable[[Trace, Setup], float]
    cheapest: float
    dearest: float


FAMILIES = {
    "static": Family(lambda replicas: Static(round(replicas)), static_peak, 15, 100),
    "serve": Family(ServeDefault, lambda trace, setup: ServeDefault().target, 16, 1),
    "kpa": Family(Kpa, lambda trace, setup: KPA_SHARE * setup.replica.sequences, 16, 1),
    "hpa": Family(Hpa, lambda trace, setup: Hpa().target, 0.9, 0.2),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What the table shows of a result."""

    gpu_hours: float
    attainment: float
    worst_hour: float
    wait_p99_s: float
    starts_per_hour: float

    @classmethod
    def of(cls, result: Result) -> Self:
        return cls(*(float(getattr(result, field.name)) for field in fields(cls)))


class Kept:
    """Runs by what was run, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._rows = {row["key"]: row["value"] for row in map(json.loads, lines)}

    def get(self, key: str, compute: Callable[[], object]) -> object:
        """`compute`d once; its value is JSON."""
        if key not in self._rows:
            self._rows[key] = compute()
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({"key": key, "value": self._rows[key]}) + "\n")
        return self._rows[key]


@dataclass(frozen=True, slots=True)
class Case:
    """A trace and a setup, and the runs of it that are kept."""

    trace: Trace
    setup: Setup
    kept: Kept

    def run(self, name: str, value: float) -> Run:
        """Of a standard policy with this value of its parameter."""
        return self._run(f"{name} {value:.4g}", lambda: self.simulated(FAMILIES[name].policy(value)))

    def simulated(self, policy: Policy) -> Run:
        return Run.of(simulate(self.trace, policy, self.setup))

    def schedule(self) -> Run:
        """The best that was found; the nearest to the target if none meets it."""

        def search() -> Run:
            tried = best_schedule(self.trace, self.setup)
            found = best(tried, self.setup.slo.target) or min(tried, key=lambda one: one.late)
            return Run.of(found.result)

        return self._run("best schedule", search)

    def bound(self) -> float:
        """GPU-hours."""
        setup = self.setup
        work = work_s(self.trace, setup.replica)
        hours = self.kept.get(
            self._key("bound"), lambda: lower_bound_gpu_hours(self.trace, work, setup.slo, setup.start.median_s)
        )
        return float(str(hours))

    def _run(self, what: str, compute: Callable[[], Run]) -> Run:
        kept = self.kept.get(self._key(what), lambda: asdict(compute()))
        assert isinstance(kept, dict)
        return Run(**kept)

    def _key(self, what: str) -> str:
        return f"{self.trace.name}, {len(self.trace)} requests, start {self.setup.start.median_s:g} s, seed {self.setup.seed}: {what}"


def rows(case: Case, policies: list[str], steps: int) -> Iterator[str]:
    """The best schedule first, for the others are measured against it; the values that were tried after each search."""
    least, reference, target = case.bound(), case.schedule(), case.setup.slo.target

    def row(policy: str, run: Run) -> str:
        met = f"{run.attainment:.2%}" if run.attainment >= target else f"**{run.attainment:.2%}**"
        cells = [
            case.trace.name, f"{case.setup.start.median_s:g}", str(case.setup.seed), policy, f"{run.gpu_hours:,.0f}",
            f"{run.gpu_hours / reference.gpu_hours:.2f}", f"{run.gpu_hours / least:.2f}", met, f"{run.worst_hour:.2%}",
            f"{run.wait_p99_s:.1f}", f"{run.starts_per_hour:.0f}",
        ]  # fmt: skip
        return f"| {' | '.join(cells)} |"

    yield row("best schedule found, all arrivals known", reference)
    if "ours" in policies:
        yield row("ours", case.simulated(WorkPolicy()))
    for name in (name for name in policies if name != "ours"):
        family = FAMILIES[name]
        default = family.default(case.trace, case.setup)
        yield row(f"{name}, default {default:.3g}", case.run(name, default))
        if steps:
            yield from _tuned(name, case, steps, row)


def _tuned(name: str, case: Case, steps: int, row: Callable[[str, Run], str]) -> Iterator[str]:
    family, target = FAMILIES[name], case.setup.slo.target
    tried = tuned(lambda value: case.run(name, value), family.cheapest, family.dearest, target, steps=steps)
    found = best(tried, target)
    yield row(
        f"{name}, tuned to {found.value:.3g}" if found else f"{name}: none meets the target", (found or tried[0]).result
    )
    yield f"<!-- {name}: {'; '.join(map(_shown, sorted(tried, key=lambda one: one.value)))} -->"


def _shown(tried: Tried[Run]) -> str:
    return f"{tried.value:.3g} -> {tried.result.gpu_hours:,.0f} GPU-h, {tried.result.attainment:.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--only", choices=TRACES, help="one of the traces")
    parser.add_argument("--starts", default="120,10,60,300", help="seconds")
    parser.add_argument("--policies", default="ours,static,serve,kpa,hpa")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4, help="of each search; 0: defaults alone")
    parser.add_argument("--fresh", action="store_true", help="forget the runs that were kept")
    asked = parser.parse_args()
    if asked.fresh:
        KEPT.unlink(missing_ok=True)
    kept = Kept(KEPT)
    print(HEADER, flush=True)
    for file, scale in (TRACES[asked.only],) if asked.only else TRACES.values():
        for seed in range(asked.seeds):
            trace = read(asked.traces / file, seed, scale)
            for start_s in map(float, asked.starts.split(",")):
                case = Case(trace, Setup(start=Start(start_s), seed=seed), kept)
                for row in rows(case, asked.policies.split(","), asked.steps):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
