"""Traces of others: what is published of them is what is drawn."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from autoscaling.simulator.azure import rows_of
from autoscaling.simulator.jsonl import BadTrace
from autoscaling.simulator.read import read
from autoscaling.simulator.trace import Trace

GIVEN = Path(__file__).parents[3] / "traces"


@pytest.fixture(scope="module")
def mm_image() -> Trace:
    return read(GIVEN / "servegen-mm-image.tar.xz")


def test_servegens_requests_are_as_many_and_as_large_as_published(mm_image: Trace):
    assert len(mm_image) == pytest.approx(818_610, rel=0.001)
    assert mm_image.vision_tokens.mean() == pytest.approx(870, rel=0.01)
    assert mm_image.text_tokens.mean() == pytest.approx(572, rel=0.01)
    assert mm_image.output_tokens.mean() == pytest.approx(130, rel=0.01)
    assert mm_image.images / len(mm_image) == pytest.approx(1.59, rel=0.01)


def test_the_mix_of_servegens_requests_moves_within_the_day(mm_image: Trace):
    """Mean vision tokens of a window: from 699 to 1,436."""
    window = (mm_image.t_s // 600).astype(int)
    means = np.bincount(window, weights=mm_image.vision_tokens) / np.bincount(window)
    assert (means.min(), means.max()) == (pytest.approx(699, rel=0.05), pytest.approx(1_436, rel=0.05))


def test_a_drawn_trace_depends_on_its_seed_only():
    file = GIVEN / "azure_lmm_2024_first24h_per_minute.csv"
    np.testing.assert_array_equal(read(file, seed=3).vision_tokens, read(file, seed=3).vision_tokens)
    assert len(read(file, seed=3)) == len(read(file, seed=4)) == 173_458
    assert read(file, seed=3).vision_tokens.sum() != read(file, seed=4).vision_tokens.sum()


def test_azures_minutes_lie_within_what_was_drawn_of_them():
    """The busiest window is; and day 1 has as many requests as were published, within a twentieth."""
    file = GIVEN / "azure_lmm_2024_digitised_8min_days1to3.csv"
    trace = read(file)
    assert (trace.t_s < 86_400).sum() == pytest.approx(173_458, rel=0.05)
    images = np.bincount((trace.t_s[trace.vision_tokens > 0] // 60).astype(int))
    highest = max(int(row["image_rpm_max_visible"] or 0) for row in rows_of(file))
    assert highest - 1 <= images.max() <= highest + 1


def test_gaps_in_a_record_are_bridged():
    trace = read(GIVEN / "servegen_m-mid_total_rate.csv", scale=1e-4)
    per_hour = np.bincount((trace.t_s // 3600).astype(int))
    assert per_hour.min() > 0.3 * per_hour.mean()


def test_the_raw_azure_trace_is_read(tmp_path: Path):
    path = tmp_path / "AzureLMMInferenceTrace_multimodal.csv.gz"
    rows = [
        "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens",
        "2024-10-15 12:00:01.2500000+00:00,4,1400,79",
        "2024-10-15 12:00:00.7500000+00:00,0,800,144",
    ]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    trace = read(path)
    assert trace.t_s.tolist() == [0.0, 0.5]
    assert trace.vision_tokens.tolist() == [0, 1_200]
    assert trace.text_tokens.tolist() == [800, 200]
    assert trace.images == 4


def test_a_row_without_a_number_is_named(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP, ContextTokens, GeneratedTokens\n2023-11-16 18:15:46.68,374,many\n")
    with pytest.raises(BadTrace, match="line 2: GeneratedTokens"):
        read(path)


def test_tokens_that_a_conversation_has_had_before_are_not_prefilled_again(tmp_path: Path):
    path = tmp_path / "mooncake.jsonl.gz"
    request = {"timestamp": 0, "input_length": 1_200, "output_length": 5, "hash_ids": [1, 2, 3]}
    path.write_bytes(gzip.compress("\n".join(json.dumps(request | {"timestamp": at}) for at in (0, 3000)).encode()))
    assert read(path).text_tokens.tolist() == [1_200, 1]


@pytest.mark.parametrize(("name", "says"), [("none.jsonl", "no such trace"), ("picture.png", "a trace is")])
def test_what_is_no_trace_is_refused(tmp_path: Path, name: str, says: str):
    (tmp_path / "picture.png").touch()
    with pytest.raises(BadTrace, match=says):
        read(tmp_path / name)


def test_scaling_keeps_the_mix(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    lines = ({"t_s": i, "vision_tokens": i % 3, "text_tokens": 1, "output_tokens": 1} for i in range(3_000))
    path.write_text("\n".join(map(json.dumps, lines)))
    assert len(read(path, scale=2.5)) == pytest.approx(7_500, rel=0.02)
    assert len(read(path, scale=0.1)) == pytest.approx(300, rel=0.2)
    assert read(path, scale=2.5).vision_tokens.mean() == pytest.approx(1, rel=0.05)


def test_more_requests_than_can_be_held_are_refused_with_a_scale_that_would_do(tmp_path: Path):
    path = tmp_path / "servegen_m-mid_total_rate.csv"
    path.write_text("t_s,total_rate_rps\n" + "".join(f"{600 * index},2000\n" for index in range(2_016)))
    with pytest.raises(BadTrace, match=r"2,419 million requests at --scale 1, .* --scale 0\.0082 would do"):
        read(path)
    assert 0 < len(read(path, scale=1e-5)) < 100_000


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no archive")])
def test_an_archive_that_is_none_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "servegen-mm-image.tar.xz"
    path.write_bytes(content)
    with pytest.raises(BadTrace, match=r"servegen-mm-image\.tar\.xz"):
        read(path)
