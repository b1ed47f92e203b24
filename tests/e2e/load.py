"""Clients that ask all the time and never retry, and what they saw."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    took_s: list[float] = field(default_factory=list)

    @property
    def asked(self) -> int:
        return self.right + len(self.wrong) + len(self.errors)


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
    seen, done, lock = Seen(), threading.Event(), threading.Lock()

    def ask(client: openai.OpenAI, question: Question, streams: bool) -> None:
        began = time.monotonic()
        try:
            answer = (_streamed if streams else _whole)(client, model, question.example)
        except openai.APIError as error:
            with lock:
                seen.errors.append(f"{type(error).__name__} {error.code}: {error.message}")
            return
        with lock:
            seen.took_s.append(time.monotonic() - began)
            if answer == question.answer:
                seen.right += 1
            else:
                seen.wrong.append(answer)

    def work(own: list[Question], streams: bool) -> None:
        with openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=300) as client:
            for question in cycle(own):
                if done.is_set():
                    return
                ask(client, question, streams)

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
    seen, done, lock = Seen(), threading.Event(), threading.Lock()

    def ask(client: openai.OpenAI, question: Question) -> None:
        began = time.monotonic()
        try:
            answer = _whole(client, model, question.example, PATIENT)
        except openai.APIError as error:
            with lock:
                seen.errors.append(f"{type(error).__name__} {error.code}: {error.message}")
            return
        with lock:
            seen.took_s.append(time.monotonic() - began)
            if answer == question.answer:
                seen.right += 1
            else:
                seen.wrong.append(answer)

    def offer(client: openai.OpenAI, pool: ThreadPoolExecutor) -> None:
        for question in cycle(asked):
            if done.wait(1 / rate_per_s):
                return
            pool.submit(ask, client, question)

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
