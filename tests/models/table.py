"""Cards x checks, as Markdown between two markers of a page."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

BEGIN, END = "<!-- cards x checks: written by make test-models -->", "<!-- end -->"
CHECKS = ("text", "one image", "several images", "video", "stream", "JSON schema", "stop", "errors", "usage", "leaving")
NOT_SEEN = "not run"


@dataclass
class Table:
    """`rows` by card and check; what is not there was not seen."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def kept(cls, page: Path) -> Self:
        """As a page has it. Lines between the markers, the head of the table left out."""
        lines = page.read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return cls({name: dict(zip(CHECKS, seen, strict=True)) for name, *seen in cells})

    def see(self, card: str, check: str, seen: str) -> None:
        """A check of several tests has passed when all have: the worst of them is told."""
        assert check in CHECKS
        row = self.rows.setdefault(card, {})
        if row.get(check) != "no":
            row[check] = seen

    def markdown(self) -> str:
        lines = [("card", *CHECKS), ("---", *("---" for _ in CHECKS))]
        lines += [(name, *(row.get(check, NOT_SEEN) for check in CHECKS)) for name, row in sorted(self.rows.items())]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def keep(self, page: Path) -> None:
        """Cards that were seen take their old row's place; the others keep theirs."""
        text = page.read_text()
        before, _, rest = text.partition(BEGIN)
        after = rest.partition(END)[2]
        rows = Table.kept(page).rows
        merged = Table(rows | {name: rows.get(name, {}) | row for name, row in self.rows.items()})
        page.write_text(f"{before}{BEGIN}\n{merged.markdown()}\n{END}{after}")
