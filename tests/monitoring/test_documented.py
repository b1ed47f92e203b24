"""`docs/metrics.md` against the code: every metric, with its type, labels and meaning."""

from pathlib import Path

from tests.monitoring.exported import exported

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ALLOWED = {"model", "tier", "outcome", "reason", "category"}


def documented() -> set[tuple[str, ...]]:
    """The rows of the tables with four columns."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {tuple(cell.strip().strip("`") for cell in row) for row in rows if len(row) == 4}


def test_the_page_has_every_metric_and_no_other():
    """Name, type, labels, meaning: word for word."""
    in_code = {(name, each.kind, ", ".join(each.labels), each.means) for name, each in exported().items()}
    assert documented() == in_code


def test_labels_are_few():
    """What a caller chooses is in none of them."""
    assert {label for each in exported().values() for label in each.labels} <= ALLOWED
