"""A tokenizer that runs in its engine's environment: its special tokens, and what it makes of a chat."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from catalog import ModelCard
from tests.models.running import environment_of

SCRIPT = Path(__file__).with_name("tokenizing.py")


class Tokens:
    """Of one card's weights."""

    def __init__(self, card: ModelCard, process: subprocess.Popen[str]) -> None:
        self.card = card
        self._process = process
        self.special: list[str] = json.loads(self._line())

    def of(self, messages: list[dict[str, Any]]) -> tuple[list[int], int]:
        """Special ids in the prompt of a chat, in order, and how many tokens it has."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(messages) + "\n")
        self._process.stdin.flush()
        special, count = json.loads(self._line())
        return special, count

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


@contextmanager
def tokens(card: ModelCard, weights: Path) -> Iterator[Tokens]:
    """Skips the test where the engine's environment is not."""
    python = environment_of(card).python
    command = [str(python), str(SCRIPT), str(weights)]
    environment = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            yield Tokens(card, process)
        finally:
            process.terminate()
