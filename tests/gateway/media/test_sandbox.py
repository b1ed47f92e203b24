import asyncio

import psutil
import pybase64
import pytest

from deployments.gateway.media.fault import Fault
from deployments.gateway.media.sandbox import Sandbox, SandboxLimits

GREEDY = "tests.gateway.media.greedy"
LIMITS = SandboxLimits(timeout_s=20, cpu_s_max=1, answer_bytes_max=8 * 2**20)


async def test_what_a_reader_found_is_told():
    """Its findings, and everything it encoded."""
    data = bytes(range(256)) * 2_000
    found, lines = await Sandbox(LIMITS).read(GREEDY, data, does="nothing")
    assert found == {"bytes": len(data)}
    assert list(map(pybase64.b64decode, lines)) == [data]


@pytest.mark.parametrize("does", ["takes memory", "computes for ever", "writes a file", "crashes", "answers for ever"])
async def test_a_reader_that_breaks_its_limits_is_over(does: str):
    """And the file that made it do so is refused by name."""
    with pytest.raises(Fault) as refused:
        await Sandbox(LIMITS).read(GREEDY, b"file", does=does)
    assert refused.value.code == "image_parse_error"
    assert psutil.Process().children() == []


async def test_a_reader_that_does_nothing_is_waited_for_so_long():
    """Time passes for it as well."""
    with pytest.raises(Fault):
        await Sandbox(SandboxLimits(timeout_s=1)).read(GREEDY, b"file", does="sleeps for ever")
    assert psutil.Process().children() == []


async def started(processes: int) -> None:
    """Wait for so many, within bounds."""
    for _ in range(2_000):
        if len(psutil.Process().children()) == processes:
            return
        await asyncio.sleep(0.01)
    pytest.fail("they were not started")


async def test_a_reader_is_not_left_alone():
    """A request that is given up takes its process with it."""
    reading = asyncio.create_task(Sandbox(LIMITS).read(GREEDY, b"file", does="sleeps for ever"))
    await started(1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert psutil.Process().children() == []


async def test_a_few_readers_run_at_once():
    """However many files there are; the next begins when one has ended."""
    sandbox = Sandbox(SandboxLimits(processes_max=2))
    reading = [asyncio.create_task(sandbox.read(GREEDY, b"file", does="sleeps for ever")) for _ in range(3)]
    await started(2)
    first = {process.pid for process in psutil.Process().children()}
    reading[0].cancel()
    await asyncio.wait(reading[:1])
    await started(2)
    assert len(first | {process.pid for process in psutil.Process().children()}) == 3
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
