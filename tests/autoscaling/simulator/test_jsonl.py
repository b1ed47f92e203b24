"""A user's own trace."""

import gzip
from pathlib import Path

import pytest

from autoscaling.simulator.jsonl import BadTrace, read_jsonl

GOOD = '{"t_s": 5, "vision_tokens": 100, "text_tokens": 20, "output_tokens": 7}'


def written(folder: Path, *lines: str) -> Path:
    path = folder / "trace.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_requests_are_sorted_and_begin_at_zero(tmp_path: Path):
    (trace,) = read_jsonl(written(tmp_path, GOOD, GOOD.replace("5", "3", 1))).values()
    assert trace.t_s.tolist() == [0.0, 2.0]


def test_gzip_is_read_as_well(tmp_path: Path):
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert read_jsonl(path)[""].vision_tokens.tolist() == [100]


def test_each_model_has_its_own_trace_on_one_clock(tmp_path: Path):
    traces = read_jsonl(
        written(
            tmp_path, GOOD[:-1] + ', "model": "a"}', GOOD.replace("5", "9", 1)[:-1] + ', "model": "b", "tenant": "x"}'
        )
    )
    assert {name: trace.t_s.tolist() for name, trace in traces.items()} == {"a": [0.0], "b": [4.0]}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (GOOD.replace("vision", "visual"), "vision_tokens: Field required"),
        (GOOD.replace("100", "-100"), "vision_tokens: Input should be greater than or equal to 0"),
        (GOOD[:-1] + ', "colour": 1}', "colour: Extra inputs are not permitted"),
        (GOOD.replace("20", '"some"'), "text_tokens: Input should be a valid integer"),
        (GOOD.replace("5", "NaN", 1), "t_s: Input should be a finite number"),
        ("{", "Invalid JSON"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_field(tmp_path: Path, line: str, says: str):
    with pytest.raises(BadTrace, match=r"trace\.jsonl, line 3: ") as refused:
        read_jsonl(written(tmp_path, GOOD, "", line))
    assert says in str(refused.value)


def test_an_empty_trace_is_refused(tmp_path: Path):
    with pytest.raises(BadTrace, match="no requests"):
        read_jsonl(written(tmp_path, ""))
