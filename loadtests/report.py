"""Collects the records of every load generator, and writes the report when the last one has finished."""

import json
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.page import page
from loadtests.record import Record
from loadtests.slo import parse_slo
from loadtests.summary import summary

# Of the messages between load generators and locust's master.
RECORDS, DONE = "records", "done"


class Report:
    """One a process. On a load generator it hands its records over; else it writes `options.report`."""

    def __init__(self, environment: Environment, generators: int) -> None:
        self._environment = environment
        self._records: list[Record] = []
        self._running = generators
        self._finished = False
        self._slo = parse_slo(environment.parsed_options.slo, environment.parsed_options.goodput)
        events = environment.events
        events.report_to_master.add_listener(self._hand_over)
        events.worker_report.add_listener(self._take)
        if not isinstance(environment.runner, WorkerRunner):
            events.quitting.add_listener(self._write)

    def add(self, record: Record) -> None:
        self._records.append(record)

    def done(self) -> None:
        """This process has sent everything, and every answer has come."""
        self._finished = True
        if not isinstance(self._environment.runner, WorkerRunner):
            self._one_less()

    def _hand_over(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        records, self._records = self._records, []
        data[RECORDS] = [record.as_json() for record in records]
        data[DONE], self._finished = self._finished, False

    def _take(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        self._records += [Record.of(record) for record in data.get(RECORDS, [])]
        if data.get(DONE):
            self._one_less()

    def _one_less(self) -> None:
        self._running -= 1
        runner = self._environment.runner
        if not self._running and runner:
            runner.quit()

    def _write(self, environment: Environment, **_: Any) -> None:
        options = environment.parsed_options
        counted = sorted((r for r in self._records if r.at_s >= options.warm_up), key=lambda record: record.at_s)
        figures = summary(counted, options.seconds, options.rate, self._slo)
        folder = Path(options.report)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        lines = (json.dumps(record.as_json()) + "\n" for record in counted)
        (folder / "requests.jsonl").write_text("".join(lines), encoding="utf-8")
        title = f"{options.model}: {Path(options.trace).name} at {options.rate:g} requests/s"
        shown = page(figures, counted, options.warm_up, options.seconds, self._slo, title)
        (folder / "report.html").write_text(shown, encoding="utf-8")
        verdict = figures["verdict"]
        print(
            f"{'passed' if verdict['passed'] else 'failed'}: {verdict['goodput']:.2%} met the SLO; {folder}/report.html"
        )
        for reason in verdict["why"]:
            print(f"  {reason}")
        environment.process_exit_code = 0 if verdict["passed"] else 1
