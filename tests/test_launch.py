import json
import shlex
import socket
from base64 import b64decode
from pathlib import Path

import pytest
import yaml
from ray.serve._private import constants

from deployments import launch
from deployments.launch import CHECKOUT, DEMO_IMAGE, LaunchError, cluster_environment, serve_config, usage_text

SERVE_CONSTANTS = {name: value for name, value in vars(constants).items() if name.startswith("RAY_SERVE_HAPROXY_")}
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


def test_nothing_of_a_cluster_is_in_a_folder_that_others_can_make_first():
    """Serve's defaults are: whoever makes `/tmp/haproxy-serve` owns HAProxy's configuration."""
    made = cluster_environment(Path("/own"), [9001, 9002])
    files = {name for name, value in SERVE_CONSTANTS.items() if isinstance(value, str) and value.startswith("/tmp/")}
    assert len(files) >= 5
    assert all(made[name].startswith("/own") for name in files)


def test_what_an_earlier_version_left_open_is_found(tmp_path: Path):
    """What holds secrets, and nothing else: a home may be somebody's home."""
    kept = ["key", "ledger.db", "ledger.db-wal", "log", "scaling.jsonl", "files/contents/ab/cd"]
    for name in [*kept, "weights/model", "photo.jpg"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in launch._kept(tmp_path)}
    assert found == {*kept, "files", "files/contents", "files/contents/ab"}


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


@pytest.mark.parametrize("said", ["abc", "0", "65536", "-1", "80 80", "8_000", "٨٠٠٠"])
def test_what_is_no_port_is_refused_in_a_line(said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VLMFLEET_PORT", said)
    with pytest.raises(LaunchError, match="VLMFLEET_PORT is no port; give a number from 1 to 65535"):
        launch.port()


@pytest.mark.parametrize(("said", "port"), [("8001", 8001), ("", 8000)])
def test_the_port_is_the_variables(said: str, port: int, monkeypatch: pytest.MonkeyPatch):
    """Empty is as good as unset."""
    monkeypatch.setenv("VLMFLEET_PORT", said)
    assert launch.port() == port


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
