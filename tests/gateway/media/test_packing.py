import gzip
import tracemalloc
import zlib

import pytest

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.packing import MEMBERS_MAX, check_packing, unpacked

DATA = b"picture " * 100


@pytest.mark.parametrize(
    ("headers", "packing"),
    [
        ([], ""),
        ([""], ""),
        (["identity"], ""),
        (["Identity, identity"], ""),
        (["gzip"], "gzip"),
        (["X-GZIP"], "x-gzip"),
        (["identity", " deflate "], "deflate"),
        (["none"], ""),
        (["UTF-8"], ""),
        (["binary"], ""),
        (["gzip,aws-chunked"], "gzip"),
    ],
)
def test_a_packing_is_named_by_its_header(headers: list[str], packing: str):
    """In any case of letters; identity is none, and so are words that stores of files tell as they were told them."""
    assert check_packing(headers) == packing


@pytest.mark.parametrize("headers", [["br"], ["zstd"], ["gzip, gzip"], ["gzip", "deflate"], ["pack"]])
def test_any_other_packing_is_refused_by_name(headers: list[str]):
    """The caller learns what is taken."""
    with pytest.raises(Fault, match="Content-Encoding"):
        check_packing(headers)


PACKED = {
    "gzip": ("gzip", gzip.compress(DATA)),
    "gzip by its old name": ("x-gzip", gzip.compress(DATA)),
    "gzip in two members": ("gzip", gzip.compress(DATA[:100]) + gzip.compress(DATA[100:])),
    "gzip in sixteen members": ("gzip", b"".join(gzip.compress(DATA[i * 50 : i * 50 + 50]) for i in range(16))),
    "deflate": ("deflate", zlib.compress(DATA)),
    "deflate without a header": ("deflate", zlib.compress(DATA)[2:-4]),
}


@pytest.mark.parametrize(("packing", "data"), PACKED.values(), ids=PACKED)
def test_what_was_packed_is_unpacked(packing: str, data: bytes):
    """Up to the cap, to the byte."""
    assert unpacked(data, packing, len(DATA)) == DATA
    with pytest.raises(Fault) as refused:
        unpacked(data, packing, len(DATA) - 1)
    assert refused.value.code == "image_file_too_large"


@pytest.mark.parametrize(("packing", "data"), PACKED.values(), ids=PACKED)
def test_what_is_cut_off_is_not_taken(packing: str, data: bytes):
    """Nor what was never packed."""
    for damaged in (data[:-10], b"picture", b""):
        with pytest.raises(Fault) as refused:
            unpacked(damaged, packing, 10_000)
        assert refused.value.code == "failed_to_download_image"


def test_what_stands_behind_the_end_is_passed_over():
    """As curl does."""
    assert unpacked(gzip.compress(DATA) + bytes(100), "gzip", 10_000) == DATA


def test_a_packing_has_a_bounded_number_of_members():
    """Each copies all that follows it."""
    with pytest.raises(Fault):
        unpacked(gzip.compress(b"a") * (MEMBERS_MAX + 1), "gzip", 10_000)


def test_no_more_is_unpacked_than_allowed():
    """Of 64 MiB of zeros."""
    bomb = gzip.compress(bytes(64 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(Fault):
            unpacked(bomb, "gzip", 2**20)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()
