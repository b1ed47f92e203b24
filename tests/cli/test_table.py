"""What a table shows of what others have named, and what it does where it does not fit."""

import importlib
from itertools import chain
from typing import Any

import pytest
from rich.cells import cell_len
from typer.core import TyperGroup

from accounting.usage import Width
from cli.main import app
from cli.reports import GROUPS, usage_columns
from cli.table import PIPE_WIDTH, Column, Filled, fitting, number, show, show_one, text, visible, widths

# Of every field that a command shows: as long as it is among people who name things in full.
LONG: dict[str, Any] = {
    "account": "credit:northern-hospitals",
    "action": "rotate_key",
    "alert_usd": "12000.000000001",
    "alerted_at": 1_793_700_000,
    "amount_nano": 12_341_000,
    "amount_usd": "1250.000000001",
    "api_key_id": "key_7f3k9m2q4w8x5c1v",
    "at": 1_793_700_000,
    "by": "key_7f3k9m2q4w8x5c1v",
    "charged_usd": "1250.123456789",
    "check": "model qwen2-vl-72b-instruct-awq",
    "cold_usd": "310.25",
    "content": {
        "scope": "project:northern-hospitals/radiology",
        "period": "month",
        "limit_usd": "15000",
        "alert_usd": "12000",
    },
    "created_at": 1_793_700_000,
    "day": "2026-11-21",
    "deleted": True,
    "detail": "an invariant does not hold: P2 posted: the account credit:northern-hospitals says 12, its entries come to 13",
    "encoder_patches": 65_536,
    "entries": 12_345_678,
    "environment_s": 123.45,
    "expires_at": 1_793_700_000,
    "goodput": 0.99,
    "gpu": "NVIDIA A100-SXM4-80GB",
    "gpu_hours": "85,344.0",
    "granted": 112,
    "id": "key_7f3k9m2q4w8x5c1v",
    "idle_usd": "1204.123456789",
    "images": 1_234_567,
    "images_per_s": 6.786,
    "input_tokens": 1_234_567_890,
    "kind": "credit",
    "lag_p99_ms": 6.219,
    "level": "warning",
    "limit_usd": "15000.000000001",
    "limits": {
        "requests_per_minute": 6000,
        "images_per_minute": 12_000,
        "tokens_per_minute": 9_000_000,
        "concurrency": 64,
    },
    "margin_usd": "-3104.123456789",
    "message": "The deployment failed to start 3 times in a row. See the logs of its replicas in /tmp/ray/session_latest.",
    "model": "qwen2-vl-72b-instruct-awq",
    "models": ["qwen2-vl-72b-instruct-awq", "internvl2-8b"],
    "name": "Radiology's night shift, 2nd floor",
    "num_model_requests": 1_234_567,
    "off_by": "1.82 times too high",
    "org": "northern-hospitals",
    "org_id": "northern-hospitals",
    "output_tokens": 123_456_789,
    "parts": 128,
    "period": "lifetime",
    "policy": "static",
    "posted_usd": "-14250.123456789",
    "project": "radiology",
    "project_id": "radiology",
    "ratio": "1.28",
    "ready_s": 87.65,
    "reason": "the scanner's pictures came twice, and were charged twice",
    "ref": "invoice-2026-11-0042",
    "remaining_usd": "749.876543210",
    "rent_usd": "24000.25",
    "replicas": 112,
    "request_id": "chatcmpl-0123456789abcdef0123456789abcdef",
    "reserved_usd": "120.123456789",
    "result": "created",
    "revenue_usd": "20896.126543211",
    "revoked_at": 1_793_700_000,
    "root": "key_7f3k9m2q4w8x5c1v",
    "rotated_to": "key_2b6n8d4s1a9z3x7c",
    "scope": "project:northern-hospitals/radiology",
    "scopes": ["inference", "usage:read", "manage"],
    "service_tier": "default",
    "share_usd": "22000.123456789",
    "slo": "TTFT 2004 ms, TPOT 100 ms, for 99.0%",
    "source": "list price of the 2-3B class: https://example.com/pricing, 2026-10-01",
    "start_time": 1_793_700_000,
    "starts_per_hour": "12.5",
    "state": "working",
    "status": "DEPLOY_FAILED",
    "told": "RAY_SERVE_ENABLE_HA_PROXY cannot be seen from here\n→ it must be 1 on head and all workers",
    "total_s": 312.45,
    "tpot_p95_ms": 50.147,
    "trace": "azure-llm-multimodal-2025-week",
    "ttft_p95_ms": 336.633,
    "units": 12,
    "usd_per_1k_images": "0.0548",
    "usd_per_1k_images_before": "0.01",
    "user_id": "anna.mueller@northern-hospitals.example",
    "attainment": "99.91%",
    "vision_tokens": 16_384,
    "wait_p99_s": "12.25",
    "want": 128,
    "waste_usd": "310.123456789",
    "weights_s": 101.35,
    "words": "112.4 GPUs of work arrive; 1.20 x the highest level in 15 min asks for 128.0 replicas; pool granted 112 of 128 "
    "(104 running, 8 starting)",
    "worst_hour": "98.12%",
}


def places(group: TyperGroup) -> set[str]:
    """The modules of a group's commands."""
    below = [
        places(each) if isinstance(each, TyperGroup) else {each.place.partition(":")[0]}
        for each in group.commands.values()
    ]
    return set().union(*below)


def tables(place: str) -> dict[str, list[Column]]:
    """Those of a module, by name."""
    lists = {
        name: found for name, found in vars(importlib.import_module(place)).items() if isinstance(found, list) and found
    }
    return {f"{place}:{name}": found for name, found in lists.items() if isinstance(found[0], Column)}


TABLES = dict(chain.from_iterable(tables(place).items() for place in sorted(places(app)))) | {
    "usage by model and day": usage_columns(["model"], Width.DAY),
    "usage by model and hour": usage_columns(["model"], Width.HOUR),
    "usage by everything": usage_columns(list(GROUPS.values()), Width.MINUTE),
}


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_no_table_breaks_a_word(
    columns: list[Column], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Nor a date, an id or a number: what is shown is shown whole, the rest is named."""
    monkeypatch.setenv("COLUMNS", str(width))
    show(columns, [LONG, LONG], None, as_json=False)
    shown, _, left_out = capsys.readouterr().out.partition("Left out: ")
    for column in columns:
        lines = column.form(LONG[column.field]).split("\n")
        pieces = lines if column.whole else " ".join(lines).split()
        assert all(piece in shown for piece in pieces) or column.heading in " ".join(left_out.split())


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_every_table_fits_80_columns(
    columns: list[Column], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One way or the other, with names as long as these; one object too."""
    monkeypatch.setenv("COLUMNS", "80")
    show(columns, [LONG, LONG], None, as_json=False)
    show_one(columns, LONG, as_json=False)
    assert max(map(cell_len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_in_a_pipe_every_table_has_every_column(
    columns: list[Column], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Programs cut columns out by their place."""
    monkeypatch.setenv("COLUMNS", str(PIPE_WIDTH))
    show(columns, [LONG], None, as_json=False)
    first, *_ = [line for line in capsys.readouterr().out.splitlines() if "┃" in line]
    assert first.count("┃") == len(columns) + 1


def filled(narrow: int, wide: int, rank: int) -> Filled:
    return Filled(Column(str(rank), "", rank=rank), [], narrow, wide)


@pytest.mark.parametrize(
    ("width", "ranks"),
    [
        (40, [0, 2, 1]),
        (39, [0, 1]),
        (27, [0, 1]),
        (26, [0]),
        (14, [0]),
        (13, []),
    ],
)
def test_the_least_important_columns_are_left_out_first(width: int, ranks: list[int]):
    """Each needs ten characters and a frame of three, and the table one more; none are left if not even the others fit."""
    columns = [filled(10, 10, rank) for rank in (0, 2, 1)]
    assert [each.column.rank for each in fitting(columns, width)] == ranks


@pytest.mark.parametrize(
    ("width", "given"),
    [
        (14, [4, 4]),  # less than they need
        (15, [4, 4]),
        (21, [4, 10]),
        (29, [5, 17]),
        (99, [8, 20]),
    ],
)
def test_room_goes_to_the_column_that_lacks_most(width: int, given: list[int]):
    assert widths([filled(4, 8, 0), filled(4, 20, 0)], width) == given


def test_numbers_are_right_aligned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("COLUMNS", "80")
    show(
        [text("model"), number("images")],
        [{"model": "a", "images": 5}, {"model": "b", "images": 1234567}],
        None,
        as_json=False,
    )
    assert "│ a     │       5 │" in capsys.readouterr().out


def test_objects_that_fit_no_table_are_shown_one_below_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """With all of their fields."""
    monkeypatch.setenv("COLUMNS", "40")
    columns = [text("id"), text("scope"), number("images", rank=1)]
    show(columns, [{"id": "i" * 20, "scope": "s" * 20, "images": count} for count in (1, 2)], None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "│" in line] == ["id", "scope", "images"] * 2


def test_what_is_longer_than_a_line_is_left_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Without a frame, so that it can be copied."""
    monkeypatch.setenv("COLUMNS", "40")
    show_one([text("id"), text("state")], {"id": "i" * 99, "state": "working"}, as_json=False)
    first, second = capsys.readouterr().out.splitlines()
    assert (first.split(), second.split()) == (["id", "i" * 99], ["state", "working"])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain, é, 日本, 👩\u200d👩\u200d👧", "plain, é, 日本, 👩\u200d👩\u200d👧"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;pwned\x07", r"\x1b]0;pwned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("back\r\x08", r"back\r\x08"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_steers_a_terminal_is_written_out(said: str, shown: str):
    assert visible(said) == shown


def test_a_table_of_others_names_has_no_escape(capsys: pytest.CaptureFixture[str]):
    show([text("id"), text("user")], [{"id": "a", "user": "\x1b[2Jgone"}], [], as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[2Jgone" in out
