"""`make soak`: a fleet of its own, every attack at once, and an honest client beside them who must not notice.

    python -m tests.soak [--seconds 600] [--quiet-seconds 60]

The honest client asks one question after the other, of both demo models, whole and streamed, and knows every answer. Exit status 1 if
the fleet did not hold.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import openai
from rich.console import Console
from rich.table import Table

from demo.generate import HELD_OUT_SEED, examples
from tests.e2e.cluster import CHECKOUT, MODELS, Cluster, about, free_port, vlmfleet, wait_until
from tests.e2e.load import Question, questions
from tests.e2e.test_operating import vlm
from tests.soak.verdict import Afterwards, Honest, faults

QUESTIONS = 20
PATIENCE_S = 120.0
# What must be the same process at the end as at the beginning, by words of its command line.
PROCESSES = {
    "gateway": "ServeReplica:gateway",
    "ledger": "ServeReplica:ledger",
    "vLLM": "vllm.entrypoints",
    "LMDeploy": "lmdeploy_server",
}


@contextmanager
def fleet(home: Path) -> Iterator[Cluster]:
    """As `make up` starts it, with a state folder and a port of its own."""
    port, config = free_port(), CHECKOUT / "serve.yaml"
    up = vlmfleet("up", home, port, config)
    output, _ = up.communicate()
    if up.returncode:
        sys.exit(output)
    try:
        yield Cluster(f"http://127.0.0.1:{port}", home)
    finally:
        vlmfleet("down", home, port, config).communicate()


def honest(cluster: Cluster, asked: dict[str, list[Question]], seconds: float) -> Honest:
    """One question after the other until the time is over, and at least each once."""
    latencies_s, wrong, errors = [], [], []
    turns = [
        (model, question, n % 2 == 0) for n in range(QUESTIONS) for model, question in ((m, asked[m][n]) for m in asked)
    ]
    until_s = time.monotonic() + seconds
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0, timeout=PATIENCE_S) as client:
        for turn, (model, question, streams) in enumerate(cycle(turns)):
            if time.monotonic() > until_s and turn >= len(turns):
                break
            began_s = time.monotonic()
            try:
                answer = answer_of(client, model, question, streams=streams)
            except openai.APIError as error:
                errors.append(f"{type(error).__name__}: {error}")
                continue
            latencies_s.append(time.monotonic() - began_s)
            if answer != question.answer:
                wrong.append(f"{answer!r} for {question.answer!r}")
    return Honest(tuple(latencies_s), tuple(wrong), tuple(errors))


def answer_of(client: openai.OpenAI, model: str, question: Question, *, streams: bool) -> str:
    # Coalesced or kept answers would say nothing of the engine.
    asking = about(question.example, model) | {"extra_headers": {"x-coalesce": "off"}}
    if streams:
        chunks = client.chat.completions.create(**asking, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return client.chat.completions.create(**asking).choices[0].message.content or ""


@contextmanager
def abused(cluster: Cluster, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Every attack, by a key of another organisation that has credit."""
    vlm(cluster, "credit", "grant", "abusers", "100", "--ref", "soak", "--reason", "soak", "--create")
    key = vlm(cluster, "keys", "create", "soak", "--org", "abusers", "--scope", "inference", "--scope", "usage:read")[
        "key"
    ]
    command = [sys.executable, "-m", "tests.soak.abuse", cluster.url, str(seconds), *MODELS]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=os.environ | {"ABUSER_KEY": key}, stdout=subprocess.PIPE, text=True
    ) as abusers:
        try:
            yield abusers
        finally:
            abusers.terminate()


def started(cluster: Cluster) -> dict[str, list[int]]:
    return {name: sorted(cluster.processes(words)) for name, words in PROCESSES.items()}


def show(tally: dict[str, dict[str, int]]) -> None:
    table = Table("attack", "turns", "answers", title="What the attackers were answered")
    for name, answers in tally.items():
        told = sorted(answers.items(), key=lambda pair: -pair[1])
        table.add_row(name, str(sum(answers.values())), "; ".join(f"{answer} x{count}" for answer, count in told[:6]))
    Console().print(table)


def run(seconds: float, quiet_seconds: float, home: Path) -> int:
    with fleet(home) as cluster:
        drawn = list(examples(HELD_OUT_SEED, QUESTIONS))
        asked = {model: questions(f"{cluster.url}/v1", cluster.key, model, drawn) for model in MODELS}
        before = started(cluster)
        quiet = honest(cluster, asked, quiet_seconds)
        with abused(cluster, seconds) as abusers:
            beside = honest(cluster, asked, seconds)
            output, _ = abusers.communicate(timeout=PATIENCE_S + seconds)
        tally = json.loads(output)
        wait_until(lambda: cluster.open_holds() == 0, 660)
        restarted = tuple(name for name, pids in started(cluster).items() if pids != before[name])
        open_holds = cluster.open_holds()
    verified = subprocess.run(
        [sys.executable, "-m", "cli", "ledger", "verify", str(home / "ledger.db")],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    show(tally)
    print(f"quiet: {len(quiet.latencies_s)} answers, p95 {quiet.p95_s:.3f} s")
    print(
        f"beside the attacks: {len(beside.latencies_s)} answers, p95 {beside.p95_s:.3f} s, {beside.p95_s / quiet.p95_s:.1f} times"
    )
    found = list(faults(quiet, beside, tally, Afterwards(open_holds, verified.stdout.strip(), restarted)))
    print("\n".join(found) or "The fleet held.")
    return int(bool(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long the attacks last")
    parser.add_argument("--quiet-seconds", type=float, default=60, help="how long the honest client is alone before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vlm-soak-") as home:
        return run(options.seconds, options.quiet_seconds, Path(home))


if __name__ == "__main__":
    sys.exit(main())
