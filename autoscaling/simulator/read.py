"""A trace, from any file that is known here."""

import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from autoscaling.simulator import azure, servegen
from autoscaling.simulator.jsonl import BadTrace, read_jsonl
from autoscaling.simulator.mooncake import conversations
from autoscaling.simulator.thinning import scaled
from autoscaling.simulator.trace import Trace

ARCHIVE = ".tar.xz"


def read(path: Path | str, seed: int = 0, scale: float = 1.0) -> Trace:
    """The trace of a file of one model, with `scale` times as many requests.

    Raises BadTrace: nobody knows this format, a line of it is wrong, or it is about several models.
    """
    traces = read_all(path, seed, scale)
    if len(traces) > 1:
        raise BadTrace(f"{Path(path).name} is about {len(traces)} models: {', '.join(traces)}")
    return next(iter(traces.values()))


def read_all(path: Path | str, seed: int = 0, scale: float = 1.0) -> dict[str, Trace]:
    """The same for several models, by name."""
    path = Path(path)
    if not path.exists():
        raise BadTrace(f"no such trace: {path}")
    rng = np.random.default_rng(seed)
    try:
        drawn = _drawn(path, rng, scale)
        if drawn is not None:
            return {drawn.name: drawn}
        return {model: scaled(trace, rng, scale) for model, trace in _recorded(path).items()}
    except BadTrace:
        raise
    except (OSError, EOFError, ValueError, LookupError, TypeError, SyntaxError, zlib.error) as error:
        # A file's name says how it is read; what is in it may be anything.
        raise BadTrace(f"{path.name} is not what its name says: {type(error).__name__} while it was read") from error


def _drawn(path: Path, rng: np.random.Generator, scale: float) -> Trace | None:
    """What is published as rates and distributions: as many requests are drawn as are asked for."""
    if path.is_dir():
        return servegen.mm_image(path, rng, scale)
    if path.name.endswith(ARCHIVE):
        with _unpacked(path) as folder:
            return servegen.mm_image(folder, rng, scale)
    if "total_rate" in path.name:
        return servegen.total_rate(path, rng, scale)
    if "digitised_8min" in path.name:
        return azure.digitised(path, rng, scale)
    if "per_minute" in path.name:
        return azure.per_minute(path, rng, scale)
    return None


@contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    """The folder of that name inside an archive, for as long as it is read. Raises BadTrace."""
    with tempfile.TemporaryDirectory() as place:
        try:
            with tarfile.open(archive) as files:
                files.extractall(place, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise BadTrace(f"{archive.name} cannot be unpacked: {error}") from error
        folder = Path(place, archive.name.removesuffix(ARCHIVE))
        if not folder.is_dir():
            raise BadTrace(f"{archive.name} has no folder {folder.name}")
        yield folder


def _recorded(path: Path) -> dict[str, Trace]:
    if ".csv" in path.suffixes:
        trace = azure.recorded(path)
    elif path.name.startswith("mooncake"):
        trace = conversations(path)
    elif ".jsonl" in path.suffixes:
        return read_jsonl(path)
    else:
        raise BadTrace(
            f"{path.name}: a trace is a .jsonl, Azure's .csv (each may be .gz), or ServeGen's folder (or that as .tar.xz)"
        )
    return {trace.name: trace}
