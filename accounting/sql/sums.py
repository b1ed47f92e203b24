"""Sums that are written with what they count: usage by time and caller, and the fleet's totals."""

from collections.abc import Sequence
from typing import Any

import orjson

from accounting.command import Attempt, Outcome, Post
from accounting.sql.database import Database, values
from accounting.usage import Width, bucket_start


def add_usage(db: Database, caller: Sequence[Any], command: Post) -> None:
    """Add the request to the rollups of its admission's minute, hour and day."""
    org_id, project_id, key_id, user_id, model, tier, units, created_at_ms = caller
    record = command.record
    who = (org_id, project_id, key_id, user_id or "", model, tier)
    what = (
        1, record.images, sum(orjson.loads(units)["images"]), record.text_tokens, record.vision_tokens, record.cached_tokens,
        record.output_tokens, command.charged_nano,
    )  # fmt: skip
    rows, parameters = values([(width, bucket_start(width, created_at_ms), *who, *what) for width in Width])
    db.later(
        f"INSERT INTO rollup VALUES {rows}"
        " ON CONFLICT (width, start_ms, org_id, project_id, key_id, user_id, model, tier) DO UPDATE SET"
        " requests = rollup.requests + 1, images = rollup.images + excluded.images, units = rollup.units + excluded.units,"
        " text_tokens = rollup.text_tokens + excluded.text_tokens, vision_tokens = rollup.vision_tokens + excluded.vision_tokens,"
        " cached_tokens = rollup.cached_tokens + excluded.cached_tokens,"
        " output_tokens = rollup.output_tokens + excluded.output_tokens,"
        " revenue_nano = rollup.revenue_nano + excluded.revenue_nano",
        *parameters,
    )


def add_total(db: Database, model: str, outcome: Outcome, charged_nano: int, record: Attempt | None) -> None:
    """Add a request that ended to the fleet's totals."""
    db.later(
        "INSERT INTO total VALUES (?, ?, 1, ?, ?, ?, ?, ?) ON CONFLICT (model, outcome) DO UPDATE SET"
        " requests = total.requests + 1, images = total.images + excluded.images,"
        " vision_tokens = total.vision_tokens + excluded.vision_tokens, text_tokens = total.text_tokens + excluded.text_tokens,"
        " output_tokens = total.output_tokens + excluded.output_tokens, charged_nano = total.charged_nano + excluded.charged_nano",
        model, outcome, *(
            (record.images, record.vision_tokens, record.text_tokens, record.output_tokens) if record else (0, 0, 0, 0)
        ), charged_nano,
    )  # fmt: skip
