"""What `vlmfleet simulate` runs: each model of a trace under each policy that is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoscaling.observation import Policy
from autoscaling.policy import WorkPolicy
from autoscaling.simulator.baselines.standard import standard
from autoscaling.simulator.bound import lower_bound_gpu_hours
from autoscaling.simulator.fleet import Start
from autoscaling.simulator.jsonl import BadTrace
from autoscaling.simulator.page import page
from autoscaling.simulator.read import read_all
from autoscaling.simulator.replica import PUBLISHED, ReplicaModel
from autoscaling.simulator.result import Result
from autoscaling.simulator.run import Setup, simulate, work_s
from autoscaling.simulator.trace import Trace
from cli.failed import Failed
from deployments.scaling.ray_default import ServeDefault


class Simulation:
    """Raises Failed if the trace or the replica model cannot be read."""

    def __init__(
        self, path: Path, *, start_s: float, scale: float, seed: int, gpus: int, replica: Path | None, bound: bool
    ) -> None:
        try:
            self._traces = read_all(path, seed, scale)
        except BadTrace as error:
            raise Failed(str(error)) from error
        try:
            model = ReplicaModel.read(replica or PUBLISHED)
        except (OSError, ValueError, KeyError) as error:
            raise Failed(f"{replica} is no replica model: {error}") from error
        self._setup = Setup(replica=model, start=Start(start_s), limit=gpus, seed=seed)
        self._bounds = {name: self._bound(trace) if bound else None for name, trace in self._traces.items()}
        self._results: dict[str, dict[str, Result]] = {}

    def rows(self, policies: Sequence[str]) -> list[dict[str, Any]]:
        """One for each model and policy."""
        rows = []
        for name, trace in self._traces.items():
            for policy in policies:
                result = simulate(trace, self._policy(policy, trace), self._setup)
                self._results.setdefault(name, {})[policy] = result
                rows.append(self._row(name, policy, result))
        return rows

    def page(self) -> str:
        """The reports of all models, one after the other, of what `rows` has run."""
        note = (
            f"A start takes {self._setup.start.median_s:g} s. A request is served as promised if its first token comes within "
            f"{self._setup.slo.ttft_s:g} s (more for large images) and the others every {self._setup.slo.tpot_s * 1000:g} ms."
        )
        return "\n".join(
            page(name or self._traces[name].name, results, self._bounds[name], self._setup.slo.target, note)
            for name, results in self._results.items()
        )

    def _policy(self, name: str, trace: Trace) -> Policy:
        if name == "ours":
            return WorkPolicy()
        return ServeDefault() if name == "serve" else standard(trace, self._setup)[name]

    def _bound(self, trace: Trace) -> float:
        setup = self._setup
        return lower_bound_gpu_hours(trace, work_s(trace, setup.replica), setup.slo, setup.start.median_s)

    def _row(self, name: str, policy: str, result: Result) -> dict[str, Any]:
        bound = self._bounds[name]
        return {
            "policy": policy,
            **result.summary(),
            "trace": name or result.trace,
            "start_s": self._setup.start.median_s,
            "seed": self._setup.seed,
            "bound_gpu_hours": bound,
            "ratio_to_bound": result.gpu_hours / bound if bound else None,
        }
