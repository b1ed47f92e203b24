"""Dashboards and alert rules against a running cluster: every series that they ask for is there, with the labels they use."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.cluster import MODEL, Cluster, about, command_line, wait_until
from tests.monitoring.exported import series
from tests.monitoring.queries import Query, Selector, queries, recorded, selectors
from tests.monitoring.test_queries import KUBERNETES

pytestmark = pytest.mark.engine

QUERIES = list(queries())
# These appear with what they count, and nothing of it happens to a few requests one after the other.
ONLY_WHEN_IT_HAPPENS = {
    "ray_vlmfleet_queue_wait_seconds_bucket",
    "ray_vlmfleet_coalesced_requests_total",
    "ray_vlmfleet_queue_refusals_total",
    "ray_vlmfleet_witness_mismatches_total",
    "ray_vlmfleet_engine_deaths_total",
    "ray_vlmfleet_media_cache_hits_total",
    "ray_vlmfleet_media_cache_misses_total",
}
# An engine's start leaves no failure, and errors and outcomes are those of the requests below.
ANY_VALUE = frozenset({"category", "outcome"})

COMPLETE = {"model": MODEL, "tier": "default", "outcome": "complete"}

Live = dict[str, list[dict[str, str]]]


def ray_exporters(cluster: Cluster) -> list[str]:
    """Ray's agent on each node, at the port that it chose and wrote down."""
    found = []
    for pid in cluster.processes("dashboard/agent.py"):
        options = dict(word.split("=", 1) for word in command_line(pid).replace("\0", " ").split() if "=" in word)
        port = Path(options["--session-dir"], f"metrics_export_port_{options['--node-id']}").read_text()
        found.append(f"http://{options['--node-ip-address']}:{port}/metrics")
    return found


def scraped(cluster: Cluster) -> Live:
    """The labels of every series that the cluster tells now."""
    admin = {"authorization": f"Bearer {cluster.admin_key}"}
    texts = [httpx.get(url, timeout=30).text for url in ray_exporters(cluster)]
    texts.append(httpx.get(f"{cluster.url}/metrics", headers=admin, timeout=30).text)
    live: Live = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for value in family.samples:
                live.setdefault(value.name, []).append(value.labels)
    return live


@pytest.fixture(scope="module")
def live(cluster: Cluster, held_out) -> Live:
    """After the same answer twice, a stream and an error, as soon as all is told that a test here asks for."""
    # The engine keeps whole blocks of 128 tokens.
    long = replace(held_out[0], question=held_out[0].question + " Look well." * 60)
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0) as client:
        for _ in range(2):
            client.chat.completions.create(**about(long))
        list(client.chat.completions.create(**about(held_out[0]), stream=True))
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**about(held_out[0], model="no-such-model"))
    told: Live = {}

    def complete() -> bool:
        told.clear()
        told.update(scraped(cluster))
        return not any(untold(query, told) for query in QUERIES) and counts_requests(told)

    with suppress(AssertionError):  # each test says what it misses
        wait_until(complete)
    return told


def is_told(selector: Selector, live: Live) -> bool:
    wanted = {name: value for name, value in selector.matchers if name not in ANY_VALUE}
    return any(
        all(labels.get(name) == value for name, value in wanted.items()) and selector.labels <= labels.keys()
        for labels in live.get(selector.name, [])
    )


def counts_requests(live: Live) -> bool:
    return any(COMPLETE.items() <= labels.items() for labels in live.get("ray_vlmfleet_requests_total", []))


def untold(query: Query, live: Live) -> list[Selector]:
    """What a query asks for and nobody tells."""
    not_here = KUBERNETES.keys() | ONLY_WHEN_IT_HAPPENS | recorded().keys()
    asked = [selector for selector in selectors(query.expression) if selector.name not in not_here]
    return [selector for selector in asked if not is_told(selector, live)]


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_what_a_query_asks_for_is_told(query: Query, live: Live):
    """By name and labels, as Prometheus would match them."""
    assert [f"{each.name}{dict(each.matchers)}" for each in untold(query, live)] == []


def test_what_is_told_is_documented(live: Live):
    """No metric of ours leaves that the page does not have."""
    ours = {name for name in live if name.startswith(("vlmfleet_", "ray_vlmfleet_"))}
    assert {name for name in ours if not name.endswith("_created")} <= series().keys()


def test_requests_are_counted_by_model_and_outcome(live: Live):
    assert counts_requests(live)
