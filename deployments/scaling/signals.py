"""What one gateway knows of the load: arrived, waiting, running and finished work of each model, by the card's costs.

Each execution counts once: those who share it cost the engine nothing. Work is priced before it is queued, its output by what
answers of this model have lately used of what they were allowed.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from accounting.price import Work
from autoscaling.work import A100_7B, Size, WorkModel
from catalog.card import ModelCard
from deployments.scaling.report import Counts, Levels

# A hold counts every byte of text as a token; English, German and JSON have three to five.
BYTES_PER_TOKEN = 4
OUTPUT_SHARE_FIRST = 0.5
OUTPUT_SHARE_MIN = 0.02
OUTPUT_NEWEST = 0.05


class Visit:
    """One execution, from its arrival to its end."""

    def __init__(self, load: "ModelLoad", work: Work, arrived_s: float, *, is_batch: bool) -> None:
        self._load = load
        self.work = work
        self.work_s = load.work_s(work)
        self.arrived_s = arrived_s
        self.is_batch = is_batch
        self.runs = False
        self.judged = is_batch

    def dispatched(self) -> None:
        """It has left the queue."""
        self._load.dispatched(self)

    def agreed_to_wait(self) -> None:
        """Its client said so: whatever it waits misses no SLO."""
        self.judged = True

    def began(self, output_tokens: int = 1) -> None:
        """So much of the answer has come, for the first time."""
        self._load.judge(self, output_tokens)

    def produced(self, output_tokens: int) -> None:
        """The whole answer was so long."""
        self._load.learn(self.work.output_tokens, output_tokens)


class ModelLoad:
    """One model's."""

    def __init__(self, card: ModelCard, clock_s: Callable[[], float]) -> None:
        costs = card.autoscaling.work
        self._costs = WorkModel(**costs.model_dump()) if costs else A100_7B
        self._slo = card.slo
        self._clock_s = clock_s
        self._output_share = OUTPUT_SHARE_FIRST
        self._waiting: dict[Visit, None] = {}  # in order of arrival
        self._in_flight_s = 0.0
        self.counts = Counts()

    def work_s(self, work: Work) -> float:
        """Replica-seconds that this is expected to take."""
        size = Size(
            patches=sum(image.encoder_patches for image in work.images),
            vision_tokens=work.vision_tokens,
            text_tokens=work.text_tokens / BYTES_PER_TOKEN,
            output_tokens=work.output_tokens * self._output_share,
        )
        return self._costs.work_s(size)

    @contextmanager
    def visit(self, work: Work, *, is_batch: bool) -> Iterator[Visit]:
        """It has arrived, and waits until it is dispatched; it is over when the context ends."""
        visit = Visit(self, work, self._clock_s(), is_batch=is_batch)
        self._arrived(visit)
        self._waiting[visit] = None
        try:
            yield visit
        except Exception as error:
            # What the caller did wrong is no violation; other errors have no status.
            self._over(visit, failed=getattr(error, "status", 500) >= 500)
            raise
        except BaseException:
            self._over(visit, failed=False)
            raise
        else:
            self.counts = self.counts.plus(Counts(finished_work_s=visit.work_s))
            self._over(visit, failed=False)

    def refused(self, work: Work, *, is_batch: bool, is_missed: bool) -> None:
        """It came and was sent away: demand all the same."""
        visit = Visit(self, work, self._clock_s(), is_batch=is_batch)
        self._arrived(visit)
        if is_missed and not is_batch:
            self.counts = self.counts.plus(Counts(missed=1))

    def levels(self) -> Levels:
        """How things stand."""
        oldest = next((visit for visit in self._waiting if not visit.is_batch), None)
        return Levels(
            backlog_work_s=sum(visit.work_s for visit in self._waiting if not visit.is_batch),
            batch_backlog_work_s=sum(visit.work_s for visit in self._waiting if visit.is_batch),
            oldest_wait_s=self._clock_s() - oldest.arrived_s if oldest else 0.0,
            in_flight_work_s=self._in_flight_s,
        )

    def dispatched(self, visit: Visit) -> None:
        del self._waiting[visit]
        visit.runs = True
        self._in_flight_s += visit.work_s

    def judge(self, visit: Visit, output_tokens: int) -> None:
        """The first token is here, or all of a short answer: in time, or late."""
        if visit.judged:
            return
        visit.judged = True
        in_time = self._waited_ms(visit) <= self._slo.answer_ms(visit.work.vision_tokens, output_tokens)
        self.counts = self.counts.plus(Counts(met=1) if in_time else Counts(missed=1))

    def learn(self, allowed_tokens: int, used_tokens: int) -> None:
        """How much of what it may answer do this model's answers use."""
        share = used_tokens / max(allowed_tokens, 1)
        self._output_share += OUTPUT_NEWEST * (min(share, 1.0) - self._output_share)
        self._output_share = max(self._output_share, OUTPUT_SHARE_MIN)

    def _arrived(self, visit: Visit) -> None:
        images = len(visit.work.images)
        if visit.is_batch:
            came = Counts(arrived_images=images, arrived_batch_work_s=visit.work_s)
        else:
            came = Counts(arrived_work_s=visit.work_s, arrived_requests=1, arrived_images=images)
        self.counts = self.counts.plus(came)

    def _over(self, visit: Visit, *, failed: bool) -> None:
        if visit.runs:
            self._in_flight_s = max(self._in_flight_s - visit.work_s, 0.0)
        else:
            del self._waiting[visit]
        # A client that left in time missed nothing.
        if not visit.judged and (failed or self._waited_ms(visit) > self._slo.answer_ms(visit.work.vision_tokens, 1)):
            self.counts = self.counts.plus(Counts(missed=1))

    def _waited_ms(self, visit: Visit) -> float:
        return 1000 * (self._clock_s() - visit.arrived_s)


class Signals:
    """All models'. Those of `cards` are reported from the beginning: nothing arrived is not nothing known."""

    def __init__(self, cards: Iterable[ModelCard] = (), clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._loads: dict[str, ModelLoad] = {}
        for card in cards:
            self.of(card)

    def of(self, card: ModelCard) -> ModelLoad:
        """The model's."""
        if card.served_name not in self._loads:
            self._loads[card.served_name] = ModelLoad(card, self._clock_s)
        return self._loads[card.served_name]

    def counts(self) -> dict[str, Counts]:
        """By served name."""
        return {name: load.counts for name, load in self._loads.items()}

    def levels(self) -> dict[str, Levels]:
        """By served name."""
        return {name: load.levels() for name, load in self._loads.items()}
