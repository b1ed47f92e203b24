import orjson
from hypothesis import given
from hypothesis import strategies as st

from deployments.one_line import escaped, one_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # orjson writes no half of a pair


@given(st.dictionaries(TEXT, TEXT))
def test_it_is_one_line_and_says_the_same(data: dict[str, str]):
    """Whatever is in it."""
    data |= {"a\u2028": "b\u0085c\u2029\x0b\x1c\r\n"}
    line = one_line(data)
    assert line == escaped(orjson.dumps(data))
    assert len(line.decode().splitlines()) == 1
    assert orjson.loads(line) == data
