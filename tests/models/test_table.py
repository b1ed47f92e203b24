from pathlib import Path

from tests.models.table import BEGIN, CHECKS, END, Table


def test_what_was_seen_takes_the_place_of_what_was_kept(tmp_path: Path):
    """Cell by cell; what stands around the table stays."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    first, second = Table(), Table()
    first.see("a", "text", "yes")
    first.see("a", "video", "no")
    first.keep(page)
    second.see("a", "video", "refused")
    second.see("b", "text", "yes")
    second.keep(page)
    kept = Table.kept(page).rows
    assert (kept["a"]["text"], kept["a"]["video"], kept["b"]["text"]) == ("yes", "refused", "yes")
    assert {seen for check, seen in kept["b"].items() if check != "text"} == {"not run"}
    assert page.read_text().startswith(f"before\n{BEGIN}\n| card | {CHECKS[0]} |")
    assert page.read_text().endswith(f"{END}\nafter\n")


def test_a_failure_is_not_covered_by_a_later_success():
    """A cell may be several tests."""
    table = Table()
    for seen in ("yes", "no", "yes"):
        table.see("a", "text", seen)
    assert table.rows["a"]["text"] == "no"
