"""`vlmfleet ledger torture`: kill a fleet again and again, and count who paid for what they saw."""

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torture.audit import Verdict
from torture.fleet import NotReady
from torture.place import place_of
from torture.plan import AFFORDABLE, CLIENTS, plan_of
from torture.trial import GATEWAYS, Findings, run_plan

CAPTION = (
    "paid: seen to its end. left, left late: broken off by the client, before or after all of it was made. end lost, unseen: "
    "charged, but a gateway died or the client left in the moment before the last, or the first, byte arrived."
)


def main(argv: Sequence[str]) -> int:
    """Run the seeds that `argv` asks for. Returns 1 if one of them found a fault."""
    arguments = _parser().parse_args(argv)
    console = Console()
    place = place_of(arguments.store)
    console.print(
        f"{arguments.seeds} seeds on {place.name}: {CLIENTS} clients, {GATEWAYS} gateways, room for {AFFORDABLE} answers"
    )
    findings = []
    try:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            findings.append(run_plan(plan_of(seed, place.points), place))
            console.print(line(findings[-1]), highlight=False, soft_wrap=True, emoji=False)
    except NotReady as error:
        console.print(f"[red]{error}[/]")
        return 1
    console.print(summary(findings))
    faulty = sum(bool(found.faults) for found in findings)
    console.print(
        f"{len(findings)} seeds, {sum(len(found.died) for found in findings)} deaths, {faulty} seeds with a fault"
    )
    return int(faulty > 0)


def line(found: Findings) -> str:
    """A seed in one line, and one more for each fault."""
    deaths = ", ".join(death.spec + ("" if death in found.died else " (not reached)") for death in found.plan.deaths)
    verdicts = ", ".join(f"{found.verdicts[verdict]} {verdict}" for verdict in Verdict)
    mark = "[red]✗[/]" if found.faults else "[green]✓[/]"
    head = (
        f"{mark} seed {found.plan.seed}: kill -9 at {deaths}: {verdicts}, {found.refused} refused, {found.took_s:.1f} s"
    )
    return "\n".join([head, *(f"  [red]{escape(fault)}[/]" for fault in found.faults)])


def summary(findings: Iterable[Findings]) -> Table:
    """What each failpoint has brought."""
    rows: dict[str, Counter[str]] = {}
    for found in findings:
        for death in found.plan.deaths:
            row = rows.setdefault(death.point.title, Counter())
            row += Counter({"died": death in found.died, "faults": len(found.faults)})
            row += Counter({str(verdict): number for verdict, number in found.verdicts.items()})
    columns = ("died", *Verdict, "faults")
    table = Table(
        title="Requests by failpoint and how they ended",
        caption=CAPTION,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("kill -9 at", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlmfleet ledger torture",
        description="Kill gateways, writer, engine and database of a small fleet at every failpoint, and audit its ledger.",
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first (default: 0)")
    parser.add_argument(
        "--store",
        default="sqlite",
        help="'sqlite' (default), or the postgresql:// URL of a server that nobody needs: it is killed, too",
    )
    return parser
