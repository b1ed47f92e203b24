import asyncio
from contextlib import suppress

import psutil
import pybase64
import pytest

from deployments.gateway.media.allowance import Effort
from deployments.gateway.media.fault import Fault
from deployments.gateway.media.sandbox import Answer, Sandbox, SandboxLimits

GREEDY = "tests.gateway.media.greedy"
LIMITS = SandboxLimits(timeout_s=20, cpu_s_max=1, answer_bytes_max=8 * 2**20)


async def test_what_a_reader_found_is_told():
    """Its findings, and everything it encoded."""
    data = bytes(range(256)) * 2_000
    found, lines = await Sandbox(LIMITS).read(GREEDY, data, Effort("a"), does="nothing")
    assert found == {"bytes": len(data)}
    assert list(map(pybase64.b64decode, lines)) == [data]


@pytest.mark.parametrize("does", ["takes memory", "computes for ever", "writes a file", "crashes", "answers for ever"])
async def test_a_reader_that_breaks_its_limits_is_over(does: str):
    """And the file that made it do so is refused by name."""
    with pytest.raises(Fault) as refused:
        await Sandbox(LIMITS).read(GREEDY, b"file", Effort("a"), does=does)
    assert refused.value.code == "image_parse_error"
    assert psutil.Process().children() == []


async def test_a_reader_that_does_nothing_is_waited_for_so_long():
    """Time passes for it as well."""
    with pytest.raises(Fault):
        await Sandbox(SandboxLimits(timeout_s=1)).read(GREEDY, b"file", Effort("a"), does="sleeps for ever")
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
    reading = asyncio.create_task(Sandbox(LIMITS).read(GREEDY, b"file", Effort("a"), does="sleeps for ever"))
    await started(1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert psutil.Process().children() == []


async def test_a_few_readers_run_at_once():
    """Of one tenant fewer than there are; the next begins when one has ended, and another tenant does not wait."""
    sandbox = Sandbox(SandboxLimits(processes_max=3))

    def read(tenant: str) -> asyncio.Task[Answer]:
        return asyncio.create_task(sandbox.read(GREEDY, b"file", Effort(tenant), does="sleeps for ever"))

    reading = [read("a") for _ in range(3)]
    await started(2)
    first = {process.pid for process in psutil.Process().children()}
    reading.append(read("b"))
    await started(3)
    for task in reading[:2]:
        task.cancel()
    await asyncio.wait(reading[:2])
    await started(2)
    assert len(first | {process.pid for process in psutil.Process().children()}) == 4
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
    assert psutil.Process().children() == []


async def test_a_kept_reader_reads_the_next_file():
    """Each with a time of its own; one that broke a limit is not kept."""
    sandbox = Sandbox(LIMITS, kept=frozenset({GREEDY}))
    for _ in range(3):
        assert await sandbox.read(GREEDY, b"file", Effort("a"), does="computes half its time")
    (kept,) = psutil.Process().children()
    with pytest.raises(Fault):
        await sandbox.read(GREEDY, b"file", Effort("a"), does="crashes")
    assert await sandbox.read(GREEDY, b"file", Effort("a"), does="nothing")
    (other,) = psutil.Process().children()
    assert kept.pid != other.pid
    sandbox.close()
    assert psutil.Process().children() == []


async def test_a_kept_reader_that_was_ended_is_replaced():
    """It is not the next file's fault."""
    sandbox = Sandbox(LIMITS, kept=frozenset({GREEDY}))
    assert await sandbox.read(GREEDY, b"file", Effort("a"), does="nothing")
    (kept,) = psutil.Process().children()
    kept.kill()
    psutil.wait_procs([kept], timeout=5)
    assert await sandbox.read(GREEDY, b"file", Effort("a"), does="nothing")
    sandbox.close()


async def test_what_a_reader_takes_is_counted():
    """Whether it finds anything or not; waiting for a turn is not its time."""
    sandbox, effort = Sandbox(SandboxLimits(processes_max=1, cpu_s_max=1)), Effort("a")
    with pytest.raises(Fault):
        await sandbox.read(GREEDY, b"file", effort, does="computes for ever")
    assert effort.spent_s >= 0.9
    idle = Effort("a")
    with suppress(Fault):
        await asyncio.gather(
            sandbox.read(GREEDY, b"file", effort, does="computes for ever"),
            sandbox.read(GREEDY, b"file", idle, does="crashes"),
            return_exceptions=True,
        )
    assert idle.spent_s < effort.spent_s
