import pytest
from pydantic import ValidationError

from deployments.gateway.usage import CompletionsQuery
from deployments.gateway.usage_mark import Mark


@pytest.mark.parametrize("mark", [Mark(0), Mark(1_700_000_000), Mark(60, ()), Mark(60, ("org", "é.\n", ""))])
def test_a_mark_is_read_as_it_was_written(mark: Mark):
    """It is a word of a URL, whatever users are called."""
    assert Mark.read(str(mark)) == mark
    assert set(str(mark)) <= set("0123456789.-_=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.mark.parametrize("text", ["", "abc", "-1", "1.x", "1.eA==", "1.bnVsbA==", "1.WyJcdTAwMDAiXQ==", "9" * 5_000])
def test_what_is_no_mark_is_refused(text: str):
    """As any other wrong field."""
    with pytest.raises(ValidationError):
        CompletionsQuery.model_validate({"start_time": 0, "page": text})
