"""What an operator does with a running fleet, through the command line, and what its users see of it."""

import json
import subprocess
import sys
from datetime import UTC, datetime

import openai
import pytest
from openai.types.chat import ChatCompletion

from demo.generate import Example
from tests.e2e.cluster import CHECKOUT, MODEL, Cluster, about, wait_until

PRICE_USD = "0.00001"
THREE_IMAGES_USD = "0.00003"


def vlm(cluster: Cluster, *words: str) -> dict:
    """`vlmfleet WORDS --json` against the cluster."""
    command = [sys.executable, "-m", "cli", *words, "--url", cluster.url, "--key", cluster.admin_key, "--json"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def made_key(cluster: Cluster):
    """A key of its own project, and a client that uses it."""
    made = []

    def make(*options: str) -> tuple[dict, openai.OpenAI]:
        key = vlm(cluster, "keys", "create", "test", "--scope", "inference", "--scope", "usage:read", *options)
        made.append(openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=key["key"], max_retries=0))
        wait_until(lambda: works(made[-1]))
        return key, made[-1]

    yield make
    for client in made:
        client.close()


def works(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return False  # gateways hear of new keys within two seconds
    return True


def ask_all(client: openai.OpenAI, some: list[Example]) -> list[ChatCompletion]:
    return [client.chat.completions.create(**about(example)) for example in some]


def test_a_budget_is_spent_to_its_last_image_and_no_further(cluster, made_key, held_out):
    key, client = made_key("--project", "budgeted")
    vlm(cluster, "budgets", "set", "project:default/budgeted", "month", THREE_IMAGES_USD)
    assert [answer.usage.cost for answer in ask_all(client, held_out[:3])] == [float(PRICE_USD)] * 3
    with pytest.raises(openai.RateLimitError) as refusal:
        client.chat.completions.create(**about(held_out[3]))
    assert refusal.value.code == "project_spend_limit_exceeded"
    (budget,) = (one for one in vlm(cluster, "budgets", "list")["data"] if one["scope"] == "project:default/budgeted")
    assert (budget["posted_usd"], budget["remaining_usd"]) == (THREE_IMAGES_USD, "0")
    assert key["id"] in {one["id"] for one in vlm(cluster, "keys", "list")["data"]}


def test_a_rate_limit_is_told_in_headers_and_then_enforced(made_key, held_out):
    _, client = made_key("--images-per-minute", "2")
    answer = client.chat.completions.with_raw_response.create(**about(held_out[0]))
    assert answer.headers["x-ratelimit-limit-images"] == "2"
    with pytest.raises(openai.RateLimitError) as refusal:
        ask_all(client, held_out[1:5])  # of five requests within two minutes one is refused
    assert refusal.value.code == "rate_limit_exceeded"
    assert refusal.value.response.headers["retry-after-ms"]


def test_a_rotated_key_ends_with_its_grace(cluster, made_key, held_out):
    key, client = made_key()
    successor = vlm(cluster, "keys", "rotate", key["id"], "--grace-seconds", "0")
    wait_until(lambda: not works(client))
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=successor["key"], max_retries=0) as renewed:
        wait_until(lambda: works(renewed))
        assert renewed.chat.completions.create(**about(held_out[0])).usage.cost == float(PRICE_USD)


def test_usage_and_costs_are_read_by_openais_own_client(cluster, made_key, held_out):
    key, client = made_key("--project", "counted")
    ask_all(client, held_out[:2])
    start = int(datetime.now(UTC).replace(hour=0, minute=0, second=0).timestamp()) - 86_400
    with openai.OpenAI(
        base_url=f"{cluster.url}/v1", admin_api_key=cluster.admin_key, api_key=cluster.admin_key
    ) as admin:
        usage = admin.admin.organization.usage.completions(
            start_time=start, api_key_ids=[key["id"]], group_by=["model"]
        )
        costs = admin.admin.organization.usage.costs(start_time=start, project_ids=["counted"])
    results = [result for bucket in usage.data for result in bucket.results]
    assert [(result.model, result.num_model_requests) for result in results] == [(MODEL, 2)]
    assert sum(result.amount.value for bucket in costs.data for result in bucket.results) == pytest.approx(0.00002)


def test_a_request_is_told_afterwards(cluster, client, held_out):
    answer = client.chat.completions.create(**about(held_out[0]))
    told = client.get("/generation", cast_to=dict, options={"params": {"id": answer.id}})
    assert told["cost"] == answer.usage.cost
    assert told["attempts"][0]["replica"]


def test_the_cost_of_a_day_adds_up(cluster, client, held_out):
    """Of the day on which the engine started: what it answered, and its start. Engines are sampled every ten seconds."""
    client.chat.completions.create(**about(held_out[0]))
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    nano: dict[str, int] = {}

    def told() -> bool:
        rows = [row for row in vlm(cluster, "cost", "--day", day)["data"] if row["model"] == MODEL]
        for part in ("share", "idle", "cold", "waste", "rent"):
            nano[part] = sum(round(float(row[f"{part}_usd"]) * 10**9) for row in rows)
        return nano["share"] > 0 and nano["cold"] > 0

    wait_until(told)
    rent = nano.pop("rent")
    assert sum(nano.values()) == rent > 0


def test_the_ledger_of_a_running_fleet_can_be_verified(cluster):
    file = str(cluster.home / "ledger.db")
    done = subprocess.run(
        [sys.executable, "-m", "cli", "ledger", "verify", file],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "every invariant holds\n")
