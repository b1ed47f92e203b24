"""Continuous batching: replicas that take requests from one queue, step by step. Compiled; all state is in arrays.

Between two changes of its batch a replica's steps are all alike, so time goes from one change to the next: a request
costs two or three events, however long its answer is.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from autoscaling.simulator.compiled import compiled
from autoscaling.simulator.replica import ReplicaModel
from autoscaling.simulator.slo import Slo
from autoscaling.simulator.trace import Counts, Floats, Trace

NEVER = np.inf
LONGEST = 1 << 62  # steps
FREE, SERVING, DRAINING = 0, 1, 2  # what a place for a replica is

# Where a number is in `Cluster.counts` and in `Cluster.sums`; all but the first two of the counts only grow.
ARRIVED, TAKEN, REFUSED, FINISHED, MET, MISSED, DRAINED = range(7)
ARRIVED_S, BACKLOG_S, IN_FLIGHT_S, EXPECTED_S, OBSERVED_S, MEAN_OUTPUT = range(6)

PRIOR_OUTPUT = 200.0  # tokens, expected of the first answer
MEMORY = 2000  # answers that the mean remembers


class Costs(NamedTuple):
    """The replica model, the SLO and what is expected of a request, as numbers only."""

    step_s: float
    sequence_s: float
    token_s: float
    vision_token_s: float
    request_s: float
    output_token_s: float  # at full load
    sequences: int
    step_tokens: int
    step_vision_tokens: int
    kv_tokens: int
    ttft_s: float
    ttft_s_per_vision_token: float
    tpot_s: float

    @classmethod
    def of(cls, model: ReplicaModel, slo: Slo) -> Self:
        return cls(
            model.step_s,
            model.sequence_s,
            model.token_s,
            model.vision_token_s,
            model.request_s,
            model.work.output_token_s,
            model.sequences,
            model.step_tokens,
            model.step_vision_tokens,
            model.kv_tokens,
            slo.ttft_s,
            slo.ttft_s_per_vision_token,
            slo.tpot_s,
        )


REQUEST = np.dtype(
    [
        ("t_s", "f8"), ("vision", "i8"), ("text", "i8"), ("output", "i8"),
        ("expected_s", "f8"),  # work, as estimated when it arrived
        ("left_vision", "i8"), ("left_text", "i8"),  # tokens not prefilled yet
        ("first_s", "f8"), ("finish_s", "f8"),  # when its first and last token came; infinite: not yet
    ]
)  # fmt: skip
REPLICA = np.dtype(
    [
        ("status", "i8"), ("since", "i8"),  # which start it was
        ("began_s", "f8"), ("each_s", "f8"), ("steps", "i8"),  # the steps that run until its next event
        ("stepped", "i8"),  # steps before those
        ("kv", "i8"),  # tokens that are or will be held
        ("load_s", "f8"),  # expected work of what it has
        ("head", "i8"), ("held", "i8"), ("held_tokens", "i8"),  # dispatched and not prefilled: a ring
        ("complete", "i8"),  # how many of them this step completes
        ("batch", "i8"),  # sequences that decode
    ]
)  # fmt: skip


class Cluster(NamedTuple):
    """All requests, and all places for replicas."""

    requests: Any  # an array of REQUEST
    replicas: Any  # an array of REPLICA
    event_s: Floats  # by replica: the next change of its batch
    waiting: Counts  # by replica: requests that it holds
    sequence: Counts  # by replica: requests that decode
    ends: Counts  # by replica: the step after which each has its last token
    counts: Counts
    sums: Floats

    @classmethod
    def of(cls, trace: Trace, model: ReplicaModel, places: int) -> Self:
        requests = np.zeros(len(trace), REQUEST)
        requests["t_s"] = trace.t_s
        requests["vision"] = requests["left_vision"] = trace.vision_tokens
        requests["text"] = requests["left_text"] = trace.text_tokens
        requests["output"] = trace.output_tokens
        requests["first_s"] = requests["finish_s"] = NEVER
        replicas = np.zeros(places, REPLICA)
        sums = np.zeros(6)
        sums[MEAN_OUTPUT] = PRIOR_OUTPUT
        width = (places, model.sequences)
        waiting, sequence, ends = (np.zeros(width, np.int64) for _ in range(3))
        return cls(requests, replicas, np.full(places, NEVER), waiting, sequence, ends, np.zeros(7, np.int64), sums)


@compiled
def advance(cluster: Cluster, costs: Costs, places: int, until_s: float) -> None:
    """Let everything happen that happens before or at `until_s`, in the first `places` places."""
    requests = len(cluster.requests)
    while True:
        replica = _next(cluster, places)
        event_s = cluster.event_s[replica]
        arrived = cluster.counts[ARRIVED]
        arrival_s = cluster.requests[arrived].t_s if arrived < requests else NEVER
        now_s = min(event_s, arrival_s)
        if now_s == NEVER or now_s > until_s:
            return
        if event_s <= arrival_s:
            _end_steps(cluster, costs, replica)
            _dispatch(cluster, costs, places, now_s)
            _begin_steps(cluster, costs, replica, now_s)
        else:
            _arrive(cluster, costs, arrived)
            _dispatch(cluster, costs, places, now_s)


@compiled
def _next(cluster: Cluster, places: int) -> int:
    soonest = 0
    for replica in range(1, places):
        if cluster.event_s[replica] < cluster.event_s[soonest]:
            soonest = replica
    return soonest


@compiled
def _arrive(cluster: Cluster, costs: Costs, request: int) -> None:
    """Into the queue. Its output is not known yet: the mean of those before is expected."""
    expected_s = _work_s(cluster, costs, request, cluster.sums[MEAN_OUTPUT])
    cluster.requests[request].expected_s = expected_s
    cluster.counts[ARRIVED] += 1
    cluster.sums[ARRIVED_S] += expected_s
    cluster.sums[BACKLOG_S] += expected_s


@compiled
def _work_s(cluster: Cluster, costs: Costs, request: int, output: float) -> float:
    vision, text = cluster.requests[request].vision, cluster.requests[request].text
    prompt_s: float = costs.request_s + costs.vision_token_s * vision + costs.token_s * (vision + text)
    return prompt_s + costs.output_token_s * output


@compiled
def _dispatch(cluster: Cluster, costs: Costs, places: int, now_s: float) -> None:
    """First come, first served, each to the replica with the least work that has room for it."""
    while cluster.counts[TAKEN] < cluster.counts[ARRIVED]:
        request = cluster.counts[TAKEN]
        tokens = cluster.requests[request].vision + cluster.requests[request].text + cluster.requests[request].output
        if tokens > costs.kv_tokens:
            cluster.counts[TAKEN] += 1
            cluster.counts[REFUSED] += 1
            cluster.counts[MISSED] += 1
            cluster.sums[BACKLOG_S] -= cluster.requests[request].expected_s
            continue
        replica = _with_room(cluster, costs, places, tokens)
        if replica < 0:
            return
        _take(cluster, replica, request, tokens)
        if cluster.replicas[replica].held == 1:
            _interrupt(cluster, replica, now_s)


@compiled
def _with_room(cluster: Cluster, costs: Costs, places: int, tokens: int) -> int:
    """-1: none. Prompts beyond what one step prefills wait in the queue, where the next free replica can take them."""
    best = -1
    for replica in range(places):
        if (
            cluster.replicas[replica].status == SERVING
            and cluster.replicas[replica].batch + cluster.replicas[replica].held < costs.sequences
            and cluster.replicas[replica].kv + tokens <= costs.kv_tokens
            and (
                cluster.replicas[replica].held == 0
                or cluster.replicas[replica].held_tokens + tokens <= costs.step_tokens
            )
            and (best < 0 or cluster.replicas[replica].load_s < cluster.replicas[best].load_s)
        ):
            best = replica
    return best


@compiled
def _take(cluster: Cluster, replica: int, request: int, tokens: int) -> None:
    width = cluster.waiting.shape[1]
    cluster.waiting[replica, (cluster.replicas[replica].head + cluster.replicas[replica].held) % width] = request
    cluster.replicas[replica].held += 1
    cluster.replicas[replica].held_tokens += cluster.requests[request].vision + cluster.requests[request].text
    cluster.replicas[replica].kv += tokens
    cluster.replicas[replica].load_s += cluster.requests[request].expected_s
    cluster.counts[TAKEN] += 1
    cluster.sums[BACKLOG_S] -= cluster.requests[request].expected_s
    cluster.sums[IN_FLIGHT_S] += cluster.requests[request].expected_s


@compiled
def _interrupt(cluster: Cluster, replica: int, now_s: float) -> None:
    """Its steps have no prompt in them: only the one that runs is finished as it is. One that does nothing begins now."""
    if cluster.event_s[replica] == NEVER:
        cluster.replicas[replica].steps = 0
        cluster.event_s[replica] = now_s
        return
    begun = int(np.ceil((now_s - cluster.replicas[replica].began_s) / cluster.replicas[replica].each_s))
    steps = min(max(begun, 1), cluster.replicas[replica].steps)
    cluster.replicas[replica].steps = steps
    cluster.event_s[replica] = cluster.replicas[replica].began_s + steps * cluster.replicas[replica].each_s


@compiled
def _begin_steps(cluster: Cluster, costs: Costs, place: int, now_s: float) -> None:
    """As many steps as are alike: one with prompts in it, but for one prompt that fills many; else until a sequence ends."""
    replica = cluster.replicas[place]
    steps = _until_end(cluster, place)
    prefill_s = 0.0
    replica.complete = 0
    if replica.held:
        full = min(steps, _full_steps(cluster, costs, place))
        if full:
            prefill_s = _fill(cluster, costs, place, full)
            steps = full
        else:
            prefill_s = _prefill_s(cluster, costs, place)
            steps = 1
    elif not replica.batch:
        cluster.event_s[place] = NEVER
        return
    replica.began_s = now_s
    replica.each_s = costs.step_s + costs.sequence_s * replica.batch + prefill_s
    replica.steps = steps
    cluster.event_s[place] = now_s + steps * replica.each_s


@compiled
def _until_end(cluster: Cluster, place: int) -> int:
    """Steps until the first sequence has its last token."""
    first = LONGEST
    for index in range(cluster.replicas[place].batch):
        first = min(first, cluster.ends[place, index])
    stepped: int = cluster.replicas[place].stepped
    return first - stepped


@compiled
def _full_steps(cluster: Cluster, costs: Costs, place: int) -> int:
    """Steps that hold nothing but more of the vision tokens of a prompt that is begun."""
    request = cluster.requests[cluster.waiting[place, cluster.replicas[place].head]]
    if request.left_vision == request.vision:
        return 0
    left: int = request.left_vision
    return max(left - 1, 0) // min(costs.step_tokens, costs.step_vision_tokens)


@compiled
def _fill(cluster: Cluster, costs: Costs, place: int, steps: int) -> float:
    request = cluster.requests[cluster.waiting[place, cluster.replicas[place].head]]
    tokens = min(costs.step_tokens, costs.step_vision_tokens)
    request.left_vision -= steps * tokens
    cluster.replicas[place].held_tokens -= steps * tokens
    return (costs.token_s + costs.vision_token_s) * tokens


@compiled
def _prefill_s(cluster: Cluster, costs: Costs, replica: int) -> float:
    """Fill one step with prompts, first come first; what does not fit goes on in the next step."""
    width = cluster.waiting.shape[1]
    room = costs.step_tokens
    vision_room = costs.step_vision_tokens
    seconds = 0.0
    while cluster.replicas[replica].complete < cluster.replicas[replica].held:
        request = cluster.waiting[
            replica, (cluster.replicas[replica].head + cluster.replicas[replica].complete) % width
        ]
        left_vision, left_text = cluster.requests[request].left_vision, cluster.requests[request].left_text
        if room == 0 or (left_vision and vision_room == 0):
            break
        if left_vision == cluster.requests[request].vision and left_text == cluster.requests[request].text:
            seconds += costs.request_s + costs.sequence_s
        vision = min(left_vision, room, vision_room)
        text = min(left_text, room - vision) if vision == left_vision else 0
        seconds += costs.token_s * (vision + text) + costs.vision_token_s * vision
        room -= vision + text
        vision_room -= vision
        cluster.replicas[replica].held_tokens -= vision + text
        cluster.requests[request].left_vision = left_vision - vision
        cluster.requests[request].left_text = left_text - text
        if vision < left_vision or text < left_text:
            break
        cluster.replicas[replica].complete += 1
    return seconds


@compiled
def _end_steps(cluster: Cluster, costs: Costs, replica: int) -> None:
    now_s = cluster.event_s[replica]
    cluster.event_s[replica] = NEVER
    cluster.replicas[replica].stepped += cluster.replicas[replica].steps
    _end_sequences(cluster, costs, replica, now_s)
    _end_prompts(cluster, costs, replica, now_s)
    if (
        cluster.replicas[replica].status == DRAINING
        and cluster.replicas[replica].batch + cluster.replicas[replica].held == 0
    ):
        cluster.replicas[replica].status = FREE
        cluster.counts[DRAINED] += 1


@compiled
def _end_sequences(cluster: Cluster, costs: Costs, replica: int, now_s: float) -> None:
    place = 0
    while place < cluster.replicas[replica].batch:
        if cluster.ends[replica, place] > cluster.replicas[replica].stepped:
            place += 1
            continue
        _finish(cluster, costs, replica, cluster.sequence[replica, place], now_s)
        last = cluster.replicas[replica].batch - 1
        cluster.sequence[replica, place] = cluster.sequence[replica, last]
        cluster.ends[replica, place] = cluster.ends[replica, last]
        cluster.replicas[replica].batch = last


@compiled
def _end_prompts(cluster: Cluster, costs: Costs, replica: int, now_s: float) -> None:
    """Each prompt that is complete has its first token."""
    width = cluster.waiting.shape[1]
    for _ in range(cluster.replicas[replica].complete):
        request = cluster.waiting[replica, cluster.replicas[replica].head]
        cluster.replicas[replica].head = (cluster.replicas[replica].head + 1) % width
        cluster.replicas[replica].held -= 1
        cluster.requests[request].first_s = now_s
        if cluster.requests[request].output == 1:
            _finish(cluster, costs, replica, request, now_s)
        else:
            place = cluster.replicas[replica].batch
            cluster.sequence[replica, place] = request
            cluster.ends[replica, place] = cluster.replicas[replica].stepped + cluster.requests[request].output - 1
            cluster.replicas[replica].batch = place + 1
    cluster.replicas[replica].complete = 0


@compiled
def _finish(cluster: Cluster, costs: Costs, replica: int, request: int, now_s: float) -> None:
    output = cluster.requests[request].output
    expected_s = cluster.requests[request].expected_s
    cluster.requests[request].finish_s = now_s
    cluster.replicas[replica].kv -= cluster.requests[request].vision + cluster.requests[request].text + output
    cluster.replicas[replica].load_s -= expected_s
    cluster.sums[IN_FLIGHT_S] -= expected_s
    cluster.sums[EXPECTED_S] += expected_s
    cluster.sums[OBSERVED_S] += _work_s(cluster, costs, request, output)
    cluster.counts[FINISHED] += 1
    remembered = min(cluster.counts[FINISHED], MEMORY)
    cluster.sums[MEAN_OUTPUT] += (output - cluster.sums[MEAN_OUTPUT]) / remembered
    in_time = cluster.requests[request].first_s - cluster.requests[request].t_s <= (
        costs.ttft_s + costs.ttft_s_per_vision_token * cluster.requests[request].vision
    )
    fluent = now_s - cluster.requests[request].first_s <= costs.tpot_s * (output - 1)
    cluster.counts[MET if in_time and fluent else MISSED] += 1
