"""Replays a trace against an OpenAI-compatible endpoint, open loop: requests leave when they are due, however slow the
server is.

    locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8000 --trace TRACE --rate 5 --run-time 60s

Keys: `VLMFLEET_KEY`, or `--keys FILE` with one a line. Writes `report.json`, `requests.jsonl` and `report.html`; the exit
status is 1 if the SLO was not kept.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.pool import Pool
from geventhttpclient import HTTPClient
from locust import User, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from autoscaling.simulator.read import read
from loadtests import body as bodies
from loadtests.plan import Mix, Planned, plan, share
from loadtests.record import Record
from loadtests.report import Report
from loadtests.stream import BadAnswer, measure

CHAT_PATH = "/v1/chat/completions"
LEAD_S = 1.0  # before the first request: greenlets start, connections open
TIMEOUT_S = 120.0
CONNECTIONS_MAX = 1_000


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument("--trace", required=True, help="a file or folder that `vlmfleet simulate` reads")
    parser.add_argument("--rate", type=float, default=5.0, help="requests a second on average")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to send, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=10.0, help="seconds that are sent and not counted")
    parser.add_argument("--model", default="demo-qwen2-vl")
    parser.add_argument("--keys", default="", help="a file with one API key a line")
    parser.add_argument("--repeats", type=float, default=0.0, help="share of pictures that were sent before")
    parser.add_argument("--side-max", type=int, default=2048, help="pixels of a picture's side at most")
    parser.add_argument("--text-max", type=int, default=100_000, help="text tokens at most")
    parser.add_argument("--output-max", type=int, default=512, help="output tokens at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slo", default="ttft=2000,tpot=100", help="milliseconds")
    parser.add_argument("--goodput", type=float, default=0.99, help="share of requests that has to meet the SLO")
    parser.add_argument("--report", default=".vlmfleet/loadtest", help="folder of the report")


@dataclass(frozen=True, slots=True)
class Run:
    """What all load generators share: each knows the whole plan, and sends its part of it."""

    keys: list[str]
    planned: list[Planned]
    report: Report


RUNS: dict[Environment, Run] = {}


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    """Before a load generator says that it is ready, so that all of them start at once."""
    options = environment.parsed_options
    generators = max(1, options.processes or 1)
    options.num_users, options.spawn_rate = generators, generators
    keys = _keys(options)
    sends = not isinstance(environment.runner, MasterRunner)
    planned = plan(read(options.trace, options.seed), _mix(options, len(keys))) if sends else []
    RUNS[environment] = Run(keys, planned, Report(environment, generators))


class Replay(User):
    """One a process: sends its share of the plan. The number of locust's users means nothing here."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Encode everything beforehand."""
        self._run = RUNS[self.environment]
        model = self.environment.parsed_options.model
        self._planned = share(self._run.planned, *_place(self.environment))
        self._bodies = []
        for planned in self._planned:
            self._bodies.append(bodies.body(planned, model))
            gevent.sleep(0)  # else locust's master takes this process for dead
        host = urlsplit(self.host)
        self._client = HTTPClient(
            host.hostname,
            host.port or (443 if host.scheme == "https" else 80),
            ssl=host.scheme == "https",
            concurrency=CONNECTIONS_MAX,
            connection_timeout=TIMEOUT_S,
            network_timeout=TIMEOUT_S,
        )

    @task
    def replay(self) -> None:
        """Send each request when it is due, once."""
        pool, began_s = Pool(), time.perf_counter() + LEAD_S
        for planned, body in zip(self._planned, self._bodies, strict=True):
            gevent.sleep(max(0.0, began_s + planned.at_s - time.perf_counter()))
            pool.spawn(self._send, planned, body, began_s + planned.at_s)
        pool.join()
        self._run.report.done()
        gevent.sleep(2 * TIMEOUT_S)  # until the others have finished, too

    def _send(self, planned: Planned, body: bytes, due_s: float) -> None:
        lag_ms = _since_ms(due_s)
        try:
            answer = self._ask(planned, body, due_s)
        except (BadAnswer, OSError, ValueError, LookupError) as error:
            failure = str(error) if isinstance(error, BadAnswer) else type(error).__name__
            self._tell(Record(planned.at_s, lag_ms, planned.key, failure=failure))
        else:
            self._tell(Record(planned.at_s, lag_ms, planned.key, answer))

    def _ask(self, planned: Planned, body: bytes, due_s: float) -> Any:
        headers = {"authorization": f"Bearer {self._run.keys[planned.key]}", "content-type": "application/json"}
        response = self._client.post(CHAT_PATH, body=body, headers=headers)
        try:
            if response.status_code != 200:
                raise BadAnswer(f"{response.status_code} {_code(response.read())}")
            return measure(_lines(response), lambda: _since_ms(due_s))
        finally:
            response.release()

    def _tell(self, record: Record) -> None:
        """Locust's own statistics, and the report's."""
        model = self.environment.parsed_options.model
        answer = record.answer
        times = {"TTFT": answer.ttft_ms, "TPOT": answer.tpot_ms, "E2E": answer.e2e_ms} if answer else {"E2E": None}
        for kind, ms in times.items():
            self.environment.events.request.fire(
                request_type=kind,
                name=model,
                response_time=ms,
                response_length=answer.output_tokens if answer else 0,
                exception=None if answer else BadAnswer(record.failure),
                context={},
            )
        self._run.report.add(record)


def _mix(options: Any, keys: int) -> Mix:
    seconds = options.seconds + options.warm_up
    caps = options.side_max, options.text_max, options.output_max
    return Mix(options.rate, seconds, options.repeats, keys, *caps, options.seed)


def _keys(options: Any) -> list[str]:
    if options.keys:
        return [line for line in Path(options.keys).read_text(encoding="utf-8").split() if line]
    key = os.environ.get("VLMFLEET_KEY")
    if not key:
        raise SystemExit("set VLMFLEET_KEY to an API key, or give --keys a file with one a line")
    return [key]


def _place(environment: Environment) -> tuple[int, int]:
    """Which of how many load generators this process is."""
    runner, options = environment.runner, environment.parsed_options
    generators = max(1, options.processes or 1)
    return (runner.worker_index, generators) if isinstance(runner, WorkerRunner) else (0, 1)


def _lines(response: Any) -> Iterator[bytes]:
    while line := response.readline(b"\n"):
        yield line


def _code(answer: bytes) -> str:
    """What an error calls itself."""
    try:
        return str(json.loads(answer)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return ""


def _since_ms(due_s: float) -> float:
    return 1000 * (time.perf_counter() - due_s)
