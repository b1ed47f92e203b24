from pathlib import Path

from deployments.scaling.journal import Journal
from tests.scaling.test_rows import row


def times(journal: Journal) -> list[float]:
    return [one.at_s for one in journal.read()]


def test_rows_outlive_the_process(tmp_path: Path):
    written = [row(0.0), row(60.0, running=3)]
    Journal(tmp_path / "rows.jsonl").write(written)
    assert Journal(tmp_path / "rows.jsonl").read() == written


def test_there_are_none_at_first(tmp_path: Path):
    assert Journal(tmp_path / "rows.jsonl").read() == []


def test_what_cannot_be_read_is_passed_over(tmp_path: Path):
    """The last line of a crash, and a row of a version that knew other facts."""
    file = tmp_path / "rows.jsonl"
    Journal(file).write([row(0.0)])
    file.write_text(file.read_text() + '{"at_s": 1.0}\n{"at_s": 60.0, "mod')
    assert times(Journal(file)) == [0.0]


def test_the_oldest_file_makes_room(tmp_path: Path):
    """Never more than twice as many lines as are kept, whoever writes them."""
    file = tmp_path / "rows.jsonl"
    for at_s in range(10):
        journal = Journal(file, full=3)
        journal.read()
        journal.write([row(float(at_s))])
    assert times(Journal(file, full=3)) == [7.0, 8.0, 9.0]
    assert sum(len(one.read_text().splitlines()) for one in tmp_path.iterdir()) <= 6
