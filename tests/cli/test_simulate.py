"""`vlmfleet simulate`, on a trace of half an hour."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Vlmfleet

LINE = {"vision_tokens": 400, "text_tokens": 50, "output_tokens": 60}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(json.dumps(LINE | {"t_s": index / 2}) for index in range(3_600)))
    return path


def test_a_trace_comes_to_gpu_hours_and_promises_kept(vlmfleet: Vlmfleet, trace: Path):
    ended = vlmfleet("simulate", str(trace), "--policy", "static", "--json")
    assert ended.status == 0, ended
    (row,) = ended.json["data"]
    assert row["requests"] == 3_600
    assert row["attainment"] > 0.99
    assert row["gpu_hours"] >= row["bound_gpu_hours"] > 0


def test_a_report_shows_the_other_policies_beside_it(vlmfleet: Vlmfleet, trace: Path, tmp_path: Path):
    report = tmp_path / "report.html"
    assert vlmfleet("simulate", str(trace), "--policy", "hpa", "--html", str(report)).status == 0
    page = report.read_text()
    assert page.count("<svg") == 5
    assert all(f"</span>{policy}</td>" in page for policy in ("ours", "static", "serve", "kpa", "hpa"))
    assert "http" not in page  # nothing is fetched


def test_a_line_that_is_no_request_is_named(vlmfleet: Vlmfleet, trace: Path):
    with trace.open("a") as lines:
        lines.write('\n{"t_s": 1}')
    ended = vlmfleet("simulate", str(trace))
    assert ended.status == 1
    assert "trace.jsonl, line 3601: vision_tokens: Field required" in ended.err


def test_more_than_was_recorded_can_be_asked_for(vlmfleet: Vlmfleet, trace: Path):
    ended = vlmfleet("simulate", str(trace), "--policy", "static", "--scale", "2", "--no-bound", "--json")
    assert ended.json["data"][0]["requests"] == 7_200
    assert ended.json["data"][0]["ratio_to_bound"] is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("trace.jsonl.gz", b"no gzip"),
        ("trace.jsonl", b"\xff\xfe\x00"),
        ("trace.csv", b"\x00\x01"),
        ("x_total_rate.csv", b"a,b\n1,2\n"),
        ("x_per_minute.csv", b"minute,requests\n1,many\n"),
        ("x_digitised_8min.csv", b""),
        ("mooncake.jsonl", b"[]\n"),
        ("mooncake.jsonl.gz", b"\x1f\x8b\x08\x00"),
        ("folder/chunk-0-trace.csv", b"no,numbers\n"),
        ("folder/other.csv", b""),
    ],
)
def test_a_file_that_is_no_trace_is_one_line(vlmfleet: Vlmfleet, tmp_path: Path, name: str, content: bytes):
    """Whatever its name promises; for a folder the folder is named."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    named = file if file.parent == tmp_path else file.parent
    ended = vlmfleet("simulate", str(named))
    assert ended.status == 1
    assert ended.err.startswith(f"vlmfleet: {named.name}")
    assert ended.err.count("\n") == 1


def test_an_empty_folder_is_one_line(vlmfleet: Vlmfleet, tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()
    ended = vlmfleet("simulate", str(folder))
    assert (ended.status, ended.err) == (1, "vlmfleet: empty has no chunk-N-trace.csv: it is no folder of ServeGen's\n")
