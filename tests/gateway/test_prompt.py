"""A prompt's text is bounded by its bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.prompt import prompt_bytes

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}


def call(arguments: str) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "least", "most"),
    [
        ({"role": "user", "content": "größer 🔴"}, 13, 13),
        ({"role": "user", "content": [{"type": "text", "text": "ab"}, IMAGE]}, 2, 4),
        ({"role": "user", "name": "ann", "content": "ab"}, 5, 5),
        ({"role": "assistant", "content": None, "refusal": None}, 0, 0),
        ({"role": "user", "content": "a\ud83d"}, 4, 4),
    ],
)
def test_text_counts_and_pictures_do_not(message: dict[str, Any], least: int, most: int):
    assert least <= prompt_bytes({"messages": [message]}) <= most


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    )
)
def test_json_counts_as_templates_write_it(data: Any):
    """They decode arguments and write them anew, with spaces and with long numbers; of tools as well."""
    written = len(json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    compact = json.dumps(data, separators=(",", ":"))
    assert prompt_bytes({"messages": [{"role": "assistant", "tool_calls": [call(compact)]}]}) >= written
    assert prompt_bytes({"messages": [], "tools": [data]}) >= written
