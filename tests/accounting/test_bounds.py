from dataclasses import replace

import pytest

from accounting.bounds import NAME_BYTES_MAX, TEXT_BYTES_MAX, unstorable
from accounting.command import AddKey, AddPrice, Command, Grant
from tests.accounting.examples import HOLD, KEY, POST, PRICE, TRIED


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (HOLD, None),
        (POST, None),
        (AddKey(KEY), None),
        (replace(HOLD, user_id="a" * TEXT_BYTES_MAX), None),
        (replace(HOLD, user_id="a" * (TEXT_BYTES_MAX + 1)), "user_id"),
        (replace(HOLD, user_id="é" * (TEXT_BYTES_MAX // 2 + 1)), "user_id"),
        (replace(HOLD, project_id="a" * NAME_BYTES_MAX), None),
        (replace(HOLD, project_id="a" * (NAME_BYTES_MAX + 1)), "project_id"),
        (replace(HOLD, metadata="a" * 128 * 1024), None),
        (replace(HOLD, metadata="a" * (128 * 1024 + 1)), "metadata"),
        (replace(HOLD, metadata="a\0"), "metadata"),
        (replace(POST, response="a" * 100_000), None),
        (replace(POST, response="\ud800"), "response"),
        (replace(POST, record=replace(TRIED, finish="\0")), "finish"),
        (Grant(ref="r" * TEXT_BYTES_MAX, account="credit:org", amount_nano=1), None),
        (Grant(ref="r" * (TEXT_BYTES_MAX + 1), account="credit:org", amount_nano=1), "ref"),
        (AddKey(replace(KEY, org_id="o" * (NAME_BYTES_MAX + 1))), "org_id"),
        (AddPrice(replace(PRICE, model="m" * (NAME_BYTES_MAX + 1))), "model"),
    ],
)
def test_the_first_text_that_no_store_could_keep_is_named(command: Command, name: str | None):
    assert unstorable(command) == name
