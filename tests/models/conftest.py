"""The table of `docs/models.md`: what was seen of each card, cell by cell."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.models.table import Table

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
WRITE = "VLMFLEET_WRITE_MODELS"  # set by `make test-models`
TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "models: starts an engine for every card; run by `make test-models` alone")
    config.addinivalue_line("markers", "cell(check): a cell of the table of cards x checks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """They take long: only who asks for them gets them."""
    if "models" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("models")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """A test with the mark `cell` is one: what it returned by `record_property`, or that it passed."""
    report = yield
    mark = item.get_closest_marker("cell")
    if not mark or report.when == "teardown" or (report.when == "setup" and not report.failed):
        return report
    seen = dict(report.user_properties).get("seen", "yes") if report.passed else "no"
    table = item.config.stash.setdefault(TABLE, Table())
    for card in item.callspec.params["family"].cards:  # type: ignore[attr-defined]  # it is parametrized
        table.see(card.served_name, mark.args[0], seen)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Printed after every run; kept by `make test-models`."""
    seen = config.stash.get(TABLE, None)
    if seen is None:
        return
    terminalreporter.section("cards x checks")
    terminalreporter.write_line(seen.markdown())
    if os.environ.get(WRITE):
        seen.keep(PAGE)
