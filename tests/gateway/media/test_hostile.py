import subprocess
import sys

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.fetch import Fetcher, FetchLimits
from deployments.gateway.media.image import measure
from deployments.gateway.media.media import Media
from deployments.gateway.media.remake import read
from tests.gateway.media.hostile import CARD, CORPUS, LIMITS, OWNER, Hostile, outcome, request
from tests.gateway.media.samples import image

MIB = 2**20
# Of the gateway's own process: each file in turn, the largest of 12 MB, and what it was sent as.
MEMORY_MAX_MIB = 200


@pytest.mark.parametrize("hostile", CORPUS.values(), ids=CORPUS)
async def test_a_hostile_file_is_refused_by_name(hostile: Hostile):
    """Or it is taken, and its picture alone gets through."""
    assert await outcome(Media(Fetcher(FetchLimits()), limits=LIMITS), hostile) == hostile.code


async def test_what_stands_behind_a_picture_does_not_reach_the_engine():
    """The picture is made anew."""
    (picture,) = await Media(Fetcher(FetchLimits())).load(request(CORPUS["picture with a ZIP behind it"]), CARD, OWNER)
    assert len(picture.data_url) < 2000


async def test_hostile_files_leave_no_process_behind():
    """However their reader ended."""
    media, before = Media(Fetcher(FetchLimits()), limits=LIMITS), psutil.Process().children()
    for name in ("PDF of forms in forms", "half a clip"):
        await outcome(media, CORPUS[name])
    assert psutil.Process().children() == before


def test_the_corpus_fits_into_little_memory():
    """In a process of its own, whose peak the kernel counts."""
    command = [sys.executable, "-m", "tests.gateway.media.hostile"]
    grown_kib = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert grown_kib * 1024 < MEMORY_MAX_MIB * MIB


FORMATS = [image(24, 16, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damaged EXIF, and of what is missing
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=8))
def test_no_damage_is_worse_than_a_fault(data: bytes, damage: list[tuple[float, bytes]]):
    """Whatever bytes an image is overwritten with, it is measured and decoded, or refused."""
    damaged = bytearray(data)
    for place, other in damage:
        at = int(place * (len(data) - 1))
        damaged[at : at + len(other)] = other
    try:
        header = measure(bytes(damaged), CARD.limits)
        if header.pixels < 1_000_000:
            read(header.content, header.format, header.orientation, [28, 28], whole=header.whole)
    except Fault:
        pass
