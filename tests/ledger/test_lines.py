import asyncio

import pytest

from deployments.ledger.lines import HEAD_BYTES, TooLong, lines_of


async def read(*parts: bytes, bytes_max: int = 100) -> list[bytes | TooLong]:
    """The lines of a stream that arrives in parts."""
    reader = asyncio.StreamReader()
    lines: list[bytes | TooLong] = []

    async def collect() -> None:
        lines.extend([line async for line in lines_of(reader, bytes_max)])

    collecting = asyncio.create_task(collect())
    for part in parts:
        reader.feed_data(part)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    reader.feed_eof()
    await collecting
    return lines


@pytest.mark.parametrize("parts", [(b"a\nbc\n\n",), (b"a", b"\nb", b"c\n\n"), (b"a\nbc\n\nhalf",)])
async def test_lines_come_without_their_ends(parts: tuple[bytes, ...]):
    """However they arrive; what has no end is no line."""
    assert await read(*parts) == [b"a", b"bc", b""]


@pytest.mark.parametrize("size", [101, 1_000, 100_000])
@pytest.mark.parametrize("step", [7, 64, 100_000])
async def test_a_line_that_is_too_long_does_not_end_what_comes_behind_it(size: int, step: int):
    """Its beginning is kept, and no more of it."""
    long = (b"0123456789" * size)[:size]
    stream = b"before\n" + long + b"\nbehind\n"
    parts = [stream[start : start + step] for start in range(0, len(stream), step)]
    assert await read(*parts) == [b"before", TooLong(long[:HEAD_BYTES]), b"behind"]


async def test_a_line_may_be_as_long_as_its_bound():
    """And one of exactly that is whole."""
    assert await read(b"x" * 50, b"x" * 50 + b"\n") == [b"x" * 100]
