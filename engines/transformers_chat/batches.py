"""Dynamic batching by vision tokens: what waits is computed together, as far as the bounds allow.

There is no continuous batching here: a batch is computed to its end before the next begins. Who is done, or has left, is
let go at once all the same.
"""

import threading
import time

from transformers_chat.batch import Bounds, batch
from transformers_chat.model import Served
from transformers_chat.sequence import Sequence

# How long the first of a batch waits for company: about what it takes to read requests that came together.
COMPANY_S = 0.004


class Counters:
    """Since the start. Only the batches' thread writes."""

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.batches = 0


class Batcher:
    """The thread that computes, and the queue in front of it."""

    def __init__(self, model: Served, bounds: Bounds) -> None:
        self._model = model
        self._bounds = bounds
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._changed = threading.Condition()
        self.counters = Counters()
        threading.Thread(target=self._compute, name="batches", daemon=True).start()

    def submit(self, sequence: Sequence) -> None:
        with self._changed:
            self._waiting.append(sequence)
            self._changed.notify()

    @property
    def waiting(self) -> int:
        return sum(not sequence.over for sequence in self._waiting)

    @property
    def running(self) -> int:
        return sum(not sequence.over for sequence in self._running)

    def _compute(self) -> None:
        while True:
            self._choose()
            if self._running:
                self._model.answer(self._running, self.counters)
            self._running = []

    def _choose(self) -> None:
        """Waits until there is something to compute. Who has left meanwhile is not in it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
        time.sleep(COMPANY_S)
        with self._changed:
            present = [sequence for sequence in self._waiting if not sequence.over]
            self._running = batch(present, self._bounds)
            self._waiting = [sequence for sequence in present if sequence not in self._running]
