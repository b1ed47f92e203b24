import json
import shlex
import socket
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from deployments import launch
from deployments.launch import CHECKOUT, DEMO_IMAGE, LaunchError, cluster_environment, serve_config, usage_text

SERVE_YAML = (CHECKOUT / "serve.yaml").read_text()


def test_only_the_port_differs_from_the_file():
    """What `make run` starts is `serve.yaml`, on the port of this run."""
    made, written = serve_config(SERVE_YAML, 8123), yaml.safe_load(SERVE_YAML)
    assert made["http_options"].pop("port") == 8123
    assert written["http_options"].pop("port") == 8000
    assert made == written


def test_a_cluster_never_joins_another(monkeypatch: pytest.MonkeyPatch):
    """No address from outside, a folder and a token of its own, and our packages from this checkout."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    made = cluster_environment(Path("own"), [9001, 9002])
    assert made["RAY_ADDRESS"] == ""
    assert (made["RAY_TMPDIR"], made["RAY_AUTH_TOKEN_PATH"]) == ("own", "own/token")
    assert made["RAY_AUTH_MODE"] == "token"
    assert made["PYTHONPATH"] == str(CHECKOUT)


def test_two_clusters_share_no_port_and_no_path():
    """What one machine has only once is this cluster's own."""
    first = cluster_environment(Path("a"), [9001, 9002])
    second = cluster_environment(Path("b"), [9003, 9004])
    own = {name for name in first if first[name] != second[name]}
    assert {"RAY_TMPDIR", "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_HAPROXY_METRICS_PORT"} <= own
    assert {name for name in first if name.endswith(("_PATH", "_PORT")) and name != "PYTHONPATH"} <= own


def test_what_a_newcomer_pastes_is_whole():
    """The curl line holds the URL, the key and a body that is a question about a real image."""
    text = usage_text(8123, "sk-vlm-key")
    (line,) = [line for line in text.splitlines() if line.startswith("curl")]
    words = shlex.split(line)
    body = json.loads(words[words.index("-d") + 1])
    assert "http://127.0.0.1:8123/v1/chat/completions" in words
    assert "Authorization: Bearer sk-vlm-key" in words
    image, question = body["messages"][0]["content"]
    assert b64decode(image["image_url"]["url"].partition(",")[2]) == DEMO_IMAGE.read_bytes()
    assert question["type"] == "text"
    assert body["model"] == "demo-qwen2-vl"


def test_a_taken_port_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    """Before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("VLMFLEET_PORT", str(port))
        with pytest.raises(LaunchError, match=rf"port {port} .* is taken; choose another: VLMFLEET_PORT="):
            launch._refuse_taken_port()
    launch._refuse_taken_port()


def test_one_checkout_runs_once(tmp_path: Path):
    """The second launcher is told how to stop the first; a lock that was left behind holds nobody up."""
    for _ in range(2):
        with (
            launch._only_launcher(tmp_path),
            pytest.raises(LaunchError, match="make down"),
            launch._only_launcher(tmp_path),
        ):
            pytest.fail("there were two")


def test_down_finds_what_runs(tmp_path: Path):
    """By the lock, not by a file that an old process may have left."""
    (tmp_path / "pid").write_text("1")
    assert launch._running(tmp_path) is None
    assert launch._running(tmp_path / "nowhere") is None


@pytest.mark.parametrize("words", [[], ["start"], ["run", "now"]])
def test_an_unknown_verb_is_answered_with_those_there_are(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """On standard error, with status 2."""
    monkeypatch.setattr("sys.argv", ["vlmfleet", *words])
    assert launch.main() == 2
    assert capsys.readouterr().err == "usage: vlmfleet run|up|down\n"
