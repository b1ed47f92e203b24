from hypothesis import given
from hypothesis import strategies as st

from deployments.gateway.media.cache import Cache


async def get(cache: Cache[int], key: int, size: int, made: list[int]) -> bytes:
    async def make() -> bytes:
        made.append(key)
        return bytes(size)

    return await cache.get(key, make)


async def test_what_was_made_is_kept():
    """And made once."""
    cache, made = Cache[int](100), []
    assert await get(cache, 1, 40, made) == await get(cache, 1, 40, made) == bytes(40)
    assert made == [1]


async def test_what_was_not_used_for_longest_goes_first():
    """Using it is what counts, not making it."""
    cache, made = Cache[int](100), []
    for key in (1, 2, 1, 3, 1, 2):
        await get(cache, key, 40, made)
    assert made == [1, 2, 3, 2]


async def test_what_is_above_the_cap_is_not_kept():
    """It would push out everything else."""
    cache, made = Cache[int](100), []
    await get(cache, 1, 40, made)
    await get(cache, 2, 101, made)
    await get(cache, 1, 40, made)
    assert (made, cache.kept_bytes) == ([1, 2], 40)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 150))))
async def test_the_cap_holds(asked: list[tuple[int, int]]):
    """Whatever is asked for, in whatever order; what is returned is always of its key."""
    cache = Cache[tuple[int, int]](200)
    for key in asked:

        async def make(size: int = key[1]) -> bytes:
            return bytes(size)

        assert len(await cache.get(key, make)) == key[1]
        assert cache.kept_bytes <= 200
