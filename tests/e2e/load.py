"""Clients that ask all the time and never retry, and what they saw."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle

import openai

from demo.generate import Example
from tests.e2e.cluster import about

PATIENT = {"Prefer": "wait=300"}


@dataclass
class Seen:
    """Answers that were right, those that were not, and errors as `TYPE code: message`. Written by several threads."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def asked(self) -> int:
        return self.right + len(self.wrong) + len(self.errors)

    def ask(self, question: "Question", answer_of: Callable[[Example], str]) -> None:
        try:
            answer = answer_of(question.example)
        except openai.APIError as error:
            with self._lock:
                self.errors.append(f"{type(error).__name__} {error.code}: {error.message}")
            return
        with self._lock:
            if answer == question.answer:
                self.right += 1
            else:
                self.wrong.append(answer)


@dataclass(frozen=True)
class Question:
    """What is asked, and what the model answered when nothing else went on."""

    example: Example
    answer: str


def questions(url: str, key: str, model: str, asked: list[Example]) -> list[Question]:
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=300) as client:
        return [Question(example, _whole(client, model, example)) for example in asked]


@contextmanager
def asking_all_the_time(url: str, key: str, model: str, asked: list[Question], clients: int = 3) -> Iterator[Seen]:
    """Every other client streams. At the end each finishes what it has asked."""
    seen, done = Seen(), threading.Event()

    def work(own: list[Question], streams: bool) -> None:
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=300) as client:
            for question in cycle(own):
                if done.is_set():
                    return
                seen.ask(question, partial(_streamed if streams else _whole, client, model))

    shares = [asked[one::clients] for one in range(clients)]
    threads = [threading.Thread(target=work, args=(share, bool(one % 2))) for one, share in enumerate(shares)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        done.set()
        for thread in threads:
            thread.join()


def _whole(client: openai.OpenAI, model: str, example: Example, headers: dict[str, str] | None = None) -> str:
    answer = client.chat.completions.create(**about(example, model), extra_headers=headers)
    return answer.choices[0].message.content or ""


def _streamed(client: openai.OpenAI, model: str, example: Example) -> str:
    chunks = client.chat.completions.create(**about(example, model), stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@contextmanager
def offering(url: str, key: str, model: str, asked: list[Question], rate_per_s: float) -> Iterator[Seen]:
    """So many requests a second, whatever becomes of them; each waits for a cold start. At the end all are awaited."""
    seen, done = Seen(), threading.Event()

    def offer(client: openai.OpenAI, pool: ThreadPoolExecutor) -> None:
        for question in cycle(asked):
            if done.wait(1 / rate_per_s):
                return
            pool.submit(seen.ask, question, partial(_whole, client, model, headers=PATIENT))

    with (
        openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=600) as client,
        ThreadPoolExecutor(200) as pool,
    ):
        clock = threading.Thread(target=offer, args=(client, pool))
        clock.start()
        try:
            yield seen
        finally:
            done.set()
            clock.join()
