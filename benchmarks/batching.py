"""`make bench-batching`: what queueing, routing and refusing do, against the same gateway without them.

The engine is the real one on this machine's CPU (the card of `benchmarks/cards`), the gateway all of our own code with a real
ledger; only Ray's reservations are played, so that nothing else moves. Writes `benchmarks/results/batching-*.jsonl` and prints
a report.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from types import FrameType

from benchmarks.batching_gateway import Listening, Setup, Verdict
from benchmarks.batching_load import THUMBNAIL_PX, Ask, Client, Pictures, Told, percentile
from benchmarks.overhead import RESULTS, environment, say
from benchmarks.stacks import CHECKOUT, Stack, bare, bench_card
from catalog import ModelCard
from catalog.card import Slo

# As many as the engine has slots.
CLIENTS = 64
MIX_LOAD = 0.9
FLOOD_CLIENTS = 96
# Interactive work as a share of the capacity, and the clients that a batch keeps busy beside it.
BESIDE_LOAD = 0.4
BATCH_CLIENTS = 16
AFFINITY_CLIENTS = 8
AFFINITY_PX = 448
LOADS = (0.5, 1.0, 1.5, 2.0, 3.0)
# Two of them are warm-up and calibration.
SEED_STEP = 1_000_000
COUNTERS = ("vllm:mm_cache_hits_total", "vllm:mm_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: a case, what was done differently, and its figures."""

    case: str
    way: str
    figures: dict[str, float]


@dataclass(slots=True)
class Bench:
    """`seconds` is about how long each measurement takes, `slo` what the model promises."""

    seconds: float
    slo: Slo
    verdicts: list[Verdict]
    capacity_per_s: float = 0.0
    _seed: int = 0

    def pictures(self) -> Pictures:
        """Pictures that no measurement had before."""
        self._seed += SEED_STEP
        return Pictures(self._seed)

    @contextmanager
    def gateway(self, engines: list[Stack], *, forms: bool = True, has_affinity: bool = True) -> Iterator[Client]:
        """A gateway of its own, with an empty ledger; what that says in the end is kept."""
        with tempfile.TemporaryDirectory(prefix="vb-") as folder:
            urls = {engine.url: engine.key for engine in engines}
            setup = Setup(folder, urls, self.slo.model_dump(), forms, has_affinity)
            command = [sys.executable, "-m", "benchmarks.batching_gateway"]
            with subprocess.Popen(
                command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdin
                assert process.stdout
                process.stdin.write(json.dumps(asdict(setup)) + "\n")
                process.stdin.flush()
                listening = Listening(**json.loads(process.stdout.readline()))
                client = Client(listening.url, listening.keys)
                _wait_until_ready(listening.url)
                yield client
                process.stdin.close()
                self.verdicts.append(Verdict(**json.loads(process.stdout.readline())))


def calibrate(bench: Bench, engine: Stack) -> None:
    """How many requests of the mix a second the engine answers, with all the company that it can have."""
    with bench.gateway([engine], forms=False) as client:
        pictures = bench.pictures()
        asyncio.run(client.closed(pictures.mix("first", CLIENTS), CLIENTS))  # warm-up
        told = asyncio.run(client.closed(pictures.mix("first", 8 * CLIENTS), CLIENTS))
        bench.capacity_per_s = len(told) / client.closed_s
    say(f"capacity: {bench.capacity_per_s:.1f} requests of the mix a second")


def interference(bench: Bench, engine: Stack) -> Iterator[Finding]:
    """Nine thumbnails for each page, at nine tenths of the capacity: the same requests at the same times both ways."""
    rate = MIX_LOAD * bench.capacity_per_s
    for forms in (False, True):
        with bench.gateway([engine], forms=forms) as client:
            asks = bench.pictures().mix("first", round(rate * bench.seconds))
            told = asyncio.run(client.open(asks, rate, jitter=random.Random(1)))
        figures = {
            "thumbnails p50 s": percentile(_ttfts(told, page=False), 0.5),
            "thumbnails p95 s": percentile(_ttfts(told, page=False), 0.95),
            "pages p95 s": percentile(_ttfts(told, page=True), 0.95),
            "requests/s": len(_answered(told)) / client.open_s,
            "refused": _refused(told),
        }
        yield Finding("interference", _way(forms), figures)


def fairness(bench: Bench, engine: Stack) -> Iterator[Finding]:
    """One tenant floods; the other asks once a second."""
    for forms in (False, True):
        with bench.gateway([engine], forms=forms) as client:
            pictures = bench.pictures()
            flood = pictures.mix("first", round(bench.capacity_per_s * bench.seconds))
            quiet = [pictures.ask("second", THUMBNAIL_PX) for _ in range(round(bench.seconds))]
            flooded, told = asyncio.run(_together(client, flood, quiet))
        figures = {
            "quiet p50 s": percentile(_ttfts(told), 0.5),
            "quiet p95 s": percentile(_ttfts(told), 0.95),
            "flood p95 s": percentile(_ttfts(flooded), 0.95),
            "flood requests/s": len(_answered(flooded)) / client.closed_s,
            "refused": _refused(told + flooded),
        }
        yield Finding("fairness", _way(forms), figures)


def batch(bench: Bench, engine: Stack) -> Iterator[Finding]:
    """Interactive requests alone, beside a batch that takes what is left, and beside the same work that is no batch."""
    rate = BESIDE_LOAD * bench.capacity_per_s
    for way, clients, is_batch in (
        ("alone", 0, True),
        ("batch", BATCH_CLIENTS, True),
        ("no batch", BATCH_CLIENTS, False),
    ):
        with bench.gateway([engine]) as client:
            asks = bench.pictures().mix("first", round(rate * bench.seconds))
            enough = bench.pictures().mix("second", round(bench.capacity_per_s * bench.seconds))
            beside_them = [replace(ask, is_batch=is_batch) for ask in enough]
            told, beside = asyncio.run(_beside(client, asks, rate, beside_them, clients))
        figures = {
            "interactive p50 s": percentile(_ttfts(told), 0.5),
            "interactive p95 s": percentile(_ttfts(told), 0.95),
            "beside it/s": len(_answered(beside)) / client.open_s,
            "requests/s": len(_answered(told + beside)) / client.open_s,
            "refused": _refused(told),
        }
        yield Finding("batch", way, figures)


def affinity(bench: Bench, engines: list[Stack]) -> Iterator[Finding]:
    """Each picture is asked about five times, at random; a fresh set of pictures for each way."""
    shuffle = random.Random(7)
    for way, replicas, has_affinity in (
        ("one", engines[:1], True),
        ("random", engines, False),
        ("affinity", engines, True),
    ):
        with bench.gateway(replicas, has_affinity=has_affinity) as client:
            pictures = bench.pictures()
            shown = [pictures.ask("first", AFFINITY_PX) for _ in range(max(16, round(2 * bench.seconds)))]
            asks = [Ask(one.tenant, one.width_px, one.picture, f"Question {i}: what is it?") for one in shown for i in range(5)]  # fmt: skip
            shuffle.shuffle(asks)
            before = _counters(replicas)
            told = asyncio.run(client.closed(asks, AFFINITY_CLIENTS))
            grown = _grown(before, _counters(replicas))
        figures = {
            "processor cache hits": grown[0] / max(1.0, grown[1]),
            "prefix cache hits": grown[2] / max(1.0, grown[3]),
            "p50 s": percentile(_ttfts(told), 0.5),
            "requests/s": len(_answered(told)) / client.closed_s,
        }
        yield Finding("affinity", way, figures)


def overload(bench: Bench, engine: Stack) -> Iterator[Finding]:
    """An open loop at so many times the capacity. Good is an answer that began within the target."""
    for load in LOADS:
        rate = load * bench.capacity_per_s
        with bench.gateway([engine]) as client:
            asks = bench.pictures().mix("first", max(10, round(rate * bench.seconds)))
            told = asyncio.run(client.open(asks, rate, jitter=random.Random(load)))
        good = sum(_is_good(one, bench.slo) for one in told)
        refusals = [one for one in told if one.status != 200]
        figures = {
            "offered/s": rate,
            "good/s": good / bench.seconds,
            "admitted p95 s": percentile(_ttfts(told), 0.95),
            "refused": len(refusals),
            "refused otherwise": sum(not _is_refusal(one) for one in refusals),
        }
        yield Finding("overload", f"{load:g}x", figures)


async def _together(client: Client, flood: list[Ask], quiet: list[Ask]) -> tuple[list[Told], list[Told]]:
    flooded, told = await asyncio.gather(client.closed(flood, FLOOD_CLIENTS), client.open(quiet, 1.0))
    return flooded, told


async def _beside(
    client: Client, asks: list[Ask], rate_per_s: float, beside: list[Ask], clients: int
) -> tuple[list[Told], list[Told]]:
    """`asks` at their times, and `clients` that ask until those are answered."""
    done = asyncio.Event()
    behind = asyncio.create_task(client.closed(beside, clients, done))
    told = await client.open(asks, rate_per_s, jitter=random.Random(1))
    done.set()
    return told, await behind


def _way(forms: bool) -> str:
    return "forming" if forms else "plain"


def _answered(told: Iterable[Told]) -> list[Told]:
    return [one for one in told if one.status == 200]


def _ttfts(told: Iterable[Told], *, page: bool | None = None) -> list[float]:
    return [one.ttft_s for one in _answered(told) if page is None or one.ask.is_page == page]


def _refused(told: Iterable[Told]) -> int:
    return sum(one.status != 200 for one in told)


def _is_refusal(told: Told) -> bool:
    return told.status in (429, 503) and told.retry_after is not None and 0 < int(told.retry_after) <= 120


def _is_good(told: Told, slo: Slo) -> bool:
    vision_tokens = (told.ask.width_px // 28) ** 2
    return told.status == 200 and 1000 * told.ttft_s <= slo.answer_ms(vision_tokens, 1)


def _counters(engines: list[Stack]) -> list[float]:
    """The engines' cache counters, summed over them, in the order of `COUNTERS`."""
    texts = []
    for engine in engines:
        request = urllib.request.Request(f"{engine.url}/metrics", headers={"Authorization": f"Bearer {engine.key}"})
        with urllib.request.urlopen(request, timeout=10) as response:
            texts.append(response.read().decode())
    return [
        sum(float(value) for text in texts for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))
        for name in COUNTERS
    ]


def _grown(before: list[float], after: list[float]) -> list[float]:
    return [b - a for a, b in zip(before, after, strict=True)]


def _wait_until_ready(url: str) -> None:
    for _ in range(200):
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)


def render(findings: list[Finding]) -> str:
    """A table for each case. Pure."""
    lines = []
    for case in dict.fromkeys(finding.case for finding in findings):
        rows = [finding for finding in findings if finding.case == case]
        lines += [
            f"## {case}",
            "",
            "| | " + " | ".join(rows[0].figures) + " |",
            "|---" * (1 + len(rows[0].figures)) + "|",
        ]
        lines += [
            f"| {row.way} | " + " | ".join(f"{value:.3g}" for value in row.figures.values()) + " |" for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long each measurement takes")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--ttft-ms", type=int, default=2000, help="the card's target")
    return parser.parse_args(words)


ONE_ENGINE = {"interference": interference, "fairness": fairness, "overload": overload, "batch": batch}
CASES = (*ONE_ENGINE, "affinity")


def run(bench: Bench, card: ModelCard, cases: list[str]) -> Iterator[Finding]:
    with ExitStack() as engines:
        say("starting the engine")
        first = engines.enter_context(bare(card))
        if set(cases) & set(ONE_ENGINE):
            calibrate(bench, first)
        for name, case in ONE_ENGINE.items():
            if name in cases:
                yield from case(bench, first)
        if "affinity" in cases:
            say("starting a second engine")
            yield from affinity(bench, [first, engines.enter_context(bare(card))])


def main(words: list[str]) -> int:
    args = arguments(words)
    signal.signal(signal.SIGTERM, _exit)
    card = bench_card()
    args.rounds, args.quick, args.stacks = 1, False, args.cases
    known = environment(card, args)
    bench = Bench(args.seconds, Slo(ttft_ms=args.ttft_ms), [])
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"batching-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.jsonl"
    findings = []
    with file.open("w", encoding="utf-8") as raw:
        raw.write(json.dumps(known | {"seconds": args.seconds, "slo": bench.slo.model_dump()}) + "\n")
        for finding in run(bench, card, args.cases):
            raw.write(json.dumps(asdict(finding)) + "\n")
            raw.flush()
            findings.append(finding)
            say(f"{finding.case}, {finding.way}: " + ", ".join(f"{k} {v:.3g}" for k, v in finding.figures.items()))
    print(render(findings))
    faults, left = (sum(getattr(v, name) for v in bench.verdicts) for name in ("faults", "holds_open"))
    print(
        f"Ledgers: {faults} faults, {left} holds left open, {sum(v.charged for v in bench.verdicts)} requests charged."
    )
    return 1 if faults or left else 0


def _exit(signum: int, frame: FrameType | None) -> None:
    sys.exit(128 + signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
