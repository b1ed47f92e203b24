"""A true lower bound on GPU-hours: no policy that serves this trace, however clever, rents fewer.

A linear program in which replicas come in fractions, do a second of work a second (no replica of the model does more, for
steps are cheapest with a full batch), and serve any work between its arrival and its deadline in any order. A request's
deadline is when its last token is due. Arrivals are moved to the beginning of their bin, deadlines to the end of theirs,
and a request that may be late counts as the largest of its size class: each of these only lowers the bound.
"""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Counts, Floats, Trace

HOUR_S = 3600.0
CLASSES = 4  # of size, among the requests that are due in a bin


def lower_bound_gpu_hours(trace: Trace, work_s: Floats, slo: Slo, start_s: float, bin_s: float = 60.0) -> float:
    """Rent of the fleet that runs at the first moment counts, its start does not; all requests are served by the end.

    Raises RuntimeError if the solver gives up.
    """
    due_s = (
        trace.t_s + slo.ttft_s + slo.ttft_s_per_vision_token * trace.vision_tokens + slo.tpot_s * trace.output_tokens
    )
    bins = int(due_s.max() // bin_s) + 2
    due_bin = (due_s // bin_s).astype(np.int64)
    arrived: Floats = np.cumsum(np.bincount((trace.t_s // bin_s).astype(np.int64), weights=work_s, minlength=bins))
    due: Floats = np.cumsum(np.bincount(due_bin, weights=work_s, minlength=bins))
    allowed = (1 - slo.target) * len(trace)
    return _solved(arrived, due, *_late(due_bin, work_s), allowed, start_s, bin_s) / HOUR_S


def _solved(
    arrived: Floats,
    due: Floats,
    late_s: Floats,
    largest_s: Floats,
    late_bin: Counts,
    allowed: float,
    start_s: float,
    bin_s: float,
) -> float:
    """GPU-seconds. Variables: by bin replicas, starts, work served so far, late work so far; by size class its late work."""
    bins, classes = len(arrived), len(late_s)
    each = sparse.identity(bins, format="csr")
    step = each - sparse.eye(bins, k=-1, format="csr")  # a bin less the one before
    of_class = sparse.csr_matrix((np.ones(classes), (late_bin, np.arange(classes))), shape=(bins, classes))
    at_most = sparse.bmat(
        [
            [-bin_s * each, None, step, None, None],  # no more is served in a bin than its replicas can
            [step[1:], -each[1:], None, None, None],  # more replicas than before are starts
            [None, None, -each, -each, None],  # what is due has been served, or is late
            [None, None, None, None, sparse.csr_matrix(1 / largest_s)],  # so many may be late
        ]
    )
    late_so_far = sparse.hstack([sparse.csr_matrix((bins, 3 * bins)), step, -of_class])
    lowest = np.zeros(4 * bins + classes)
    lowest[3 * bins - 1] = arrived[-1] * (1 - 1e-9)  # in the end all is served
    unbounded = np.full(bins, np.inf)
    solved = linprog(
        np.concatenate([np.full(bins, bin_s), np.full(bins, start_s), np.zeros(2 * bins + classes)]),
        A_ub=at_most.tocsr(),
        b_ub=np.concatenate([np.zeros(2 * bins - 1), -due, [allowed]]),
        A_eq=late_so_far.tocsr(),
        b_eq=np.zeros(bins),
        bounds=np.column_stack([lowest, np.concatenate([unbounded, unbounded, arrived, unbounded, late_s])]),
        method="highs-ipm",
    )
    if solved.status != 0:
        raise RuntimeError(f"the bound's linear program was not solved: {solved.message}")
    return float(solved.fun)


def _late(due_bin: Counts, work_s: Floats) -> tuple[Floats, Floats, Counts]:
    """Work, largest request and bin of each size class of each bin."""
    order = np.lexsort((-work_s, due_bin))
    bins, work = due_bin[order], work_s[order]
    first = np.searchsorted(bins, bins)
    count = np.bincount(bins)[bins]
    size_class = (np.arange(len(bins)) - first) * CLASSES // count
    group = bins * CLASSES + size_class
    groups, begins = np.unique(group, return_index=True)
    return np.add.reduceat(work, begins), work[begins], groups // CLASSES
