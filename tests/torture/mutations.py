"""Does a test notice when a guard is gone? Each mutation takes one away, in a copy of the tree; the test it names must turn red.

python -m tests.torture.mutations
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).parent.parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
# What pytest's exit status says.
GREEN, RED = 0, 1
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old` is in `file` exactly once. `only` selects among the test's parameters."""

    name: str
    file: str
    old: str
    new: str
    test: str
    only: str = ""


MUTATIONS = (
    Mutation(
        "without UNIQUE (kind, ref, account_id)",
        "accounting/schema/sqlite/1.sql",
        ",\n  UNIQUE (kind, ref, account_id)\n",
        "\n",
        "tests/accounting/test_sqlite.py::test_history_cannot_be_rewritten",
    ),
    Mutation(
        "without UNIQUE (kind, ref, account_id), in a restored ledger",
        "accounting/schema/sqlite/1.sql",
        ",\n  UNIQUE (kind, ref, account_id)\n",
        "\n",
        "tests/accounting/test_store.py::test_lines_that_cannot_be_are_not_restored",
        only="sqlite",
    ),
    Mutation(
        "without the account's CHECK",
        "accounting/schema/sqlite/1.sql",
        ",\n  CONSTRAINT room CHECK (limit_nano IS NULL OR posted_nano + reserved_nano <= limit_nano)\n",
        "\n",
        "tests/accounting/test_store.py::test_what_is_reserved_counts_against_the_limit",
        only="sqlite",
    ),
    Mutation(
        "without the account's CHECK, in four processes",
        "accounting/schema/sqlite/1.sql",
        ",\n  CONSTRAINT room CHECK (limit_nano IS NULL OR posted_nano + reserved_nano <= limit_nano)\n",
        "\n",
        "tests/torture/test_torture.py::test_four_gateways_admit_64_clients_to_exactly_the_40_answers_of_the_budget",
        only="sqlite",
    ),
    Mutation(
        "the first-byte gate opened early",
        "deployments/gateway/life.py",
        "stored = await admitted.bill.durable()\n",
        "stored = None\n",
        "tests/gateway/test_bill.py::test_nothing_leaves_before_the_hold_is_durable",
    ),
    Mutation(
        "a whole answer sent early",
        "deployments/gateway/bill.py",
        "await asyncio.wait([acknowledged], timeout=self._books.post_ack_s)\n",
        "return\n",
        "tests/gateway/test_bill.py::test_a_whole_answer_waits_for_its_charge",
    ),
    Mutation(
        "the last frame sent early",
        "deployments/gateway/bill.py",
        "await asyncio.wait([acknowledged], timeout=self._books.post_ack_s)\n",
        "return\n",
        "tests/gateway/test_bill.py::test_the_end_of_a_stream_waits_for_its_charge",
    ),
    Mutation(
        "an answer sent though its charge is not confirmed",
        "deployments/gateway/bill.py",
        "            raise ChargeUnconfirmed\n",
        "            return\n",
        "tests/gateway/test_bill.py::test_an_answer_whose_charge_is_not_confirmed_is_withheld_and_free",
    ),
    Mutation(
        "a withheld answer not given back",
        "deployments/gateway/bill.py",
        "            acknowledged.add_done_callback(self._give_back)\n",
        "",
        "tests/gateway/test_bill.py::test_an_answer_whose_charge_is_not_confirmed_is_withheld_and_free",
    ),
    Mutation(
        "a hold taken that could not be charged",
        "accounting/sql/store.py",
        "    if text := unstorable(command):\n        return Reply(Result.INVALID, blocked_by=text)\n",
        "",
        "tests/accounting/test_store.py::test_a_hold_whose_charge_could_not_be_kept_is_refused",
        only="sqlite",
    ),
    Mutation(
        "without the trial of a failed batch's halves",
        "accounting/group_commit.py",
        "        middle = len(commands) // 2\n"
        "        return [*apply_each(store, commands[:middle]), *apply_each(store, commands[middle:])]\n",
        "        return [error] * len(commands)\n",
        "tests/accounting/test_group_commit.py::test_a_command_that_the_store_fails_on_fails_alone",
    ),
    Mutation(
        "without reading back whether SQLite waits for the disk",
        "accounting/sqlite.py",
        '(synchronous,) = self._db.execute("PRAGMA synchronous").fetchone()\n',
        "synchronous = FULL\n",
        "tests/accounting/test_sqlite.py::test_a_synchronous_that_is_not_honoured_is_refused",
    ),
    Mutation(
        "with a REPLACE that passes by the triggers",
        "accounting/sqlite.py",
        '        self._db.execute("PRAGMA recursive_triggers = ON")\n',
        "",
        "tests/accounting/test_sqlite.py::test_the_writer_itself_cannot_replace_what_was_written",
    ),
    Mutation(
        "a leap of the clock voids what runs",
        "accounting/sql/store.py",
        "            if leapt_ms:\n                holds.postpone(db, leapt_ms)\n",
        "",
        "tests/gateway/test_life.py::test_a_clock_that_leaps_ends_no_request",
    ),
    Mutation(
        "a part of an answer replayed as a whole one",
        "accounting/sql/repeats.py",
        " if why == Outcome.COMPLETE else None",
        "",
        "tests/gateway/test_idempotency.py::test_what_a_client_left_is_no_answer_and_the_next_request_runs",
    ),
    Mutation(
        "a try that was taken over runs on",
        "deployments/gateway/bill.py",
        "        self._books.attempts.end_before(self.request_id, self.attempt_number)\n",
        "",
        "tests/gateway/test_idempotency.py::test_a_try_that_shared_an_answer_hands_its_place_to_its_retry",
    ),
    Mutation(
        "a project's budget for every organisation",
        "accounting/budget.py",
        'f"project:{org_id}/{project_id}", f"project:{project_id}"',
        'f"project:{project_id}", f"project:{project_id}"',
        "tests/accounting/test_store.py::test_a_budget_bounds_its_scope",
        only="sqlite",
    ),
    Mutation(
        "a dead writer's commands not sent again",
        "deployments/ledger/client.py",
        "            for sent in self._outbox:\n                writer.write(sent.line)\n",
        "            for sent in filter(lambda sent: sent.command is None, self._outbox):\n"
        "                writer.write(sent.line)\n",
        "tests/torture/test_torture.py::test_whoever_dies_everyone_pays_for_what_they_saw",
        only="batch_open",
    ),
    Mutation(
        "settled inside the request's task",
        "deployments/gateway/life.py",
        "        except asyncio.CancelledError:\n"
        "            bill.client_left(was_sent=exchange.started)\n"
        "            raise\n",
        "",
        "tests/gateway/test_life.py::test_a_request_that_the_server_cancels_is_settled",
    ),
    Mutation(
        "floor instead of the largest remainder",
        "accounting/gpu_cost.py",
        "(-(amount * weights[one] % total), one))[:left]:",
        "(-(amount * weights[one] % total), one))[:0]:",
        "tests/accounting/test_gpu_cost.py::test_the_rent_is_conserved_to_the_nano_dollar",
    ),
    Mutation(
        "settled at the current price version",
        "deployments/gateway/life.py",
        "                engine_answer = admitted.with_places(answered)\n",
        "                admitted.bill.price = self._prices[admitted.bill.price.model]\n"
        "                engine_answer = admitted.with_places(answered)\n",
        "tests/gateway/test_life.py::test_a_price_that_changes_on_the_way_is_the_next_requests",
    ),
    Mutation(
        "an unknown price is zero",
        "deployments/gateway/life.py",
        "price = self._prices.get(card.served_name)\n",
        "price = self._prices.get(card.served_name) or Price(card.served_name, 1, 0, 0)\n",
        "tests/gateway/test_life.py::test_a_model_without_a_price_is_not_run",
    ),
)


def main() -> int:
    """Try every mutation. Returns 1 if one of them goes unnoticed."""
    table = Table(title="Each guard is taken away once")
    for column in ("mutation", "test", ""):
        table.add_column(column, overflow="fold")
    with copied() as tree:
        results = [(mutation, verdict(mutation, tree)) for mutation in MUTATIONS]
    for mutation, told in results:
        colour = "green" if told == "red" else "red"
        table.add_row(mutation.name, mutation.test, f"[{colour}]{told}[/]")
    Console().print(table)
    return int(any(told != "red" for _, told in results))


def verdict(mutation: Mutation, tree: Path) -> str:
    """ "red" if the test passes as it is, and fails under the mutation."""
    if outcome(mutation, tree) != GREEN:
        return "red as it is"
    with mutated(mutation, tree):
        status = outcome(mutation, tree)
    return {GREEN: "green", RED: "red"}.get(status, f"pytest ended with {status}")


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the tree to be mutated."""
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(CHECKOUT, tree, ignore=LEFT_OUT)
        yield tree


@contextmanager
def mutated(mutation: Mutation, tree: Path) -> Iterator[None]:
    """The tree without the guard, for the time of the context."""
    file = tree / mutation.file
    text = file.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.name}: {mutation.file} has changed"
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    yield
    file.write_text(text, encoding="utf-8")


def outcome(mutation: Mutation, tree: Path) -> int:
    """The exit status of the mutation's own test."""
    only = ["-k", mutation.only] if mutation.only else []
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.test, *only]
    # What a red test leaves to be looked at goes with the copy.
    environment = os.environ | {"TMPDIR": str(tree.parent)}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, check=False, timeout=TIMEOUT_S
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
