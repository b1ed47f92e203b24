"""`make bench`: the same engine bare, behind ray.serve.llm and behind vlmfleet, in one run, side by side.

Every round starts each stack in turn, alone, and sends it the same cases. Raw rows and the report go to
`benchmarks/results/`; the report is printed as well.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO

from benchmarks import client, cpu
from benchmarks.report import Row, render
from benchmarks.stacks import CHECKOUT, DEFAULT_STACKS, MODEL, STACKS, Stack, bench_card
from benchmarks.workload import Case, cases
from catalog import ModelCard

RESULTS = Path(__file__).with_name("results")
CLIENTS = (1, 8, 32)
ROUNDS = 3
# Ray goes on registering things for a while after its start.
SETTLE_S = 5.0
IDLE_S = 10.0


class ClientFailed(Exception):
    """The load generator ended early; what it said is above."""


def measure(stack: Stack, case: Case, number: int, idle: dict[str, float]) -> Row:
    """One case on a running stack. The CPU time is that between `go` and the last answer. Raises `ClientFailed`."""
    order = client.Order(stack.url, stack.key, MODEL, case)
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.client"],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        _tell(process.stdin, json.dumps(asdict(order)))
        if process.stdout.readline().strip() != client.READY:
            raise ClientFailed
        before = cpu.snapshot(stack.pid)
        _tell(process.stdin, client.GO)
        answer = process.stdout.readline()
        after = cpu.snapshot(stack.pid)
    if not answer:
        raise ClientFailed
    load = client.Load(**json.loads(answer))
    return Row(
        stack.name, number, case.image, case.mode, case.clients, case.requests,
        load.seconds, load.latencies_ms, load.ttfts_ms, load.events, load.errors,
        cpu.spent_ms(before, after), idle,
    )  # fmt: skip


def idle_ms_per_s(stack: Stack) -> dict[str, float]:
    """CPU milliseconds a second, by role, of a stack that nobody asks anything."""
    time.sleep(SETTLE_S)
    before, start = cpu.snapshot(stack.pid), time.monotonic()
    time.sleep(IDLE_S)
    seconds = time.monotonic() - start
    return {name: ms / seconds for name, ms in cpu.spent_ms(before, cpu.snapshot(stack.pid)).items()}


def measure_stack(name: str, card: ModelCard, todo: list[Case], number: int, raw: IO[str]) -> list[Row]:
    """Start a stack, measure every case, stop it. Each row is written as soon as it is known."""
    say(f"round {number}, {name}: starting")
    started, rows = time.monotonic(), []
    with STACKS[name](card) as stack:
        say(f"round {number}, {name}: up after {time.monotonic() - started:.0f} s")
        idle = idle_ms_per_s(stack)
        for case in todo:
            row = measure(stack, case, number, idle)
            raw.write(json.dumps(asdict(row)) + "\n")
            raw.flush()
            rows.append(row)
            say(
                f"round {number}, {name}: {case.image} {case.mode}, {case.clients} clients: {row.requests_per_s:.1f}/s, "
                f"{row.cpu_ms_per_request:.1f} ms of CPU a request, errors: {row.errors or 'none'}"
            )
    return rows


def environment(card: ModelCard, args: argparse.Namespace) -> dict[str, str]:
    """Under which conditions the figures were measured."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start",
        "Python": platform.python_version(),
        "Ray": version("ray"),
        "engine": f"{card.engine.name} {card.engine.version}, {card.source.path}, {card.engine.options}",
        "rounds": f"{args.rounds}{', quick' if args.quick else ''}; medians over them",
        "stacks": ", ".join(args.stacks),
    }


def commit() -> str:
    """The commit of this checkout, from git's own files; `make bench` needs no git."""
    folder = CHECKOUT / ".git"
    try:
        head = (folder / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        if (folder / ref).exists():
            return (folder / ref).read_text(encoding="utf-8").strip()
        packed = (folder / "packed-refs").read_text(encoding="utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {ref}")), "none yet")
    except OSError:
        return "unknown"


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an eighth of the requests, one round: does it work?")
    parser.add_argument("--stacks", nargs="+", choices=list(STACKS), default=list(DEFAULT_STACKS))
    parser.add_argument("--clients", nargs="+", type=int, default=list(CLIENTS))
    parser.add_argument("--rounds", type=int, help=f"each starts every stack anew (default {ROUNDS}, quick 1)")
    parser.add_argument("--requests", type=int, help="how many in every case, whatever the number of clients")
    parser.add_argument("--images", nargs="+", help="only these, for example: '224 px'")
    args = parser.parse_args(words)
    args.rounds = args.rounds or (1 if args.quick else ROUNDS)
    return args


def main(words: list[str]) -> int:
    args = arguments(words)
    signal.signal(signal.SIGTERM, _exit)
    card = bench_card()
    todo = [
        case
        for case in cases(args.clients, quick=args.quick, requests=args.requests)
        if args.images is None or case.image in args.images
    ]
    known = environment(card, args)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"overhead-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    rows: list[Row] = []
    with file.with_suffix(".jsonl").open("w", encoding="utf-8") as raw:
        raw.write(json.dumps(known) + "\n")
        for number in range(1, args.rounds + 1):
            for name in args.stacks:
                rows += measure_stack(name, card, todo, number, raw)
    report = render(rows, known)
    file.with_suffix(".md").write_text(report, encoding="utf-8")
    print(report)
    say(f"written: {file}.md and .jsonl")
    return 0


def _tell(stdin: IO[str], line: str) -> None:
    stdin.write(line + "\n")
    stdin.flush()


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _exit(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
