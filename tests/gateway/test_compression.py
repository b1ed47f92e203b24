import gzip
import zlib

import pytest

from deployments.gateway.compression import decompressed, encoding_of
from deployments.gateway.errors import BadRequest, EncodingNotTaken, TooLarge

BODY = b'{"model": "demo"}' * 50
RAW = zlib.compressobj(wbits=-15)
NO_FRAME = RAW.compress(BODY) + RAW.flush()


@pytest.mark.parametrize(
    ("header", "encoding"),
    [(None, None), ("", None), ("identity", None), ("gzip", "gzip"), (" GZIP ", "gzip"), ("deflate", "deflate")],
)
def test_a_header_says_how_a_body_is_compressed(header: str | None, encoding: str | None):
    assert encoding_of(header) == encoding


@pytest.mark.parametrize("header", ["zstd", "br", "gzip, gzip", "gzip;q=1", "aws-chunked"])
def test_other_ways_are_refused_by_name(header: str):
    with pytest.raises(EncodingNotTaken) as refused:
        encoding_of(header)
    assert refused.value.param == "Content-Encoding"


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), "x-gzip"),
        (zlib.compress(BODY), "deflate"),
        (NO_FRAME, "deflate"),
    ],
)
def test_a_body_comes_out_as_it_was_up_to_the_cap(packed: bytes, encoding: str):
    """Deflate is what HTTP calls so, and what some clients take for it."""
    assert decompressed(packed, encoding, len(BODY)) == BODY
    with pytest.raises(TooLarge):
        decompressed(packed, encoding, len(BODY) - 1)


def test_a_bomb_does_not_go_off():
    """A kilobyte of it says a megabyte: neither above the cap nor below it."""
    bomb = gzip.compress(b" " * 30_000_000)
    for bytes_max in (1000, 10**8):
        with pytest.raises(TooLarge):
            decompressed(bomb, "gzip", bytes_max)


def test_what_compresses_well_is_no_bomb():
    """A short body of repetitions, and a long one that became a tenth."""
    short, long = BODY * 1_000, b"".join(b'{"text": "%x"}' % (number**9) for number in range(200_000))
    assert decompressed(gzip.compress(short), "gzip", 10**8) == short
    assert decompressed(gzip.compress(long), "gzip", 10**8) == long


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (BODY, "gzip"),
        (BODY, "deflate"),
        (gzip.compress(BODY)[:-1], "gzip"),
        (gzip.compress(BODY) + b"x", "gzip"),
        (gzip.compress(BODY) * 2, "gzip"),
        (zlib.compress(BODY), "gzip"),
        (NO_FRAME[:-5], "deflate"),
    ],
)
def test_what_is_not_what_it_says_is_refused(packed: bytes, encoding: str):
    """Also what goes on behind its end, or does not come to it."""
    with pytest.raises(BadRequest, match="Content-Encoding") as refused:
        decompressed(packed, encoding, 10**6)
    assert refused.value.param == "Content-Encoding"
