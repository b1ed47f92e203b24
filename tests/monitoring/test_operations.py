"""The runbooks: one for each alert, and every link in the page leads somewhere."""

import re
from pathlib import Path

import pytest

from tests.monitoring.test_alerts import ALERTS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text()
HEADINGS = [line.lstrip("#").strip() for line in PAGE.splitlines() if line.startswith("#")]
ANCHORS = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in HEADINGS}


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_runbook(alert: str):
    """Under its own name, with something to do."""
    _, _, rest = PAGE.partition(f"\n### {alert}\n")
    assert len(re.split(r"\n##", rest)[0].split()) > 20


def test_no_runbook_is_left_over():
    assert {heading for heading in HEADINGS if heading.startswith("Vlmfleet")} == ALERTS.keys()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        page, _, anchor = target.partition("#")
        assert (DOCS / page).exists() if page else anchor in ANCHORS
