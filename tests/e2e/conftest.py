"""The real thing, started once: Ray, HAProxy, gateway, ledger and vLLM, as `make up` starts them."""

import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openai
import pytest
import yaml

from demo.generate import HELD_OUT_SEED, Example, draw_read, examples
from deployments.guard import descendants
from tests.e2e.cluster import CHECKOUT, Cluster, alive, command_line, free_port, vlmfleet


@pytest.fixture(scope="session")
def serve_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`serve.yaml`, with one loopback address from which images may be fetched."""
    config = yaml.safe_load((CHECKOUT / "serve.yaml").read_text())
    (gateway,) = (app for app in config["applications"] if app["name"] == "gateway")
    gateway["args"]["fetch_networks_allowed"] = ["127.0.0.2/32"]
    file = tmp_path_factory.mktemp("config") / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, serve_config: Path) -> Iterator[Cluster]:
    home, port = tmp_path_factory.mktemp("home"), free_port()
    up = vlmfleet("up", home, port, serve_config)
    output, _ = up.communicate()
    assert up.returncode == 0, output
    running = Cluster(f"http://127.0.0.1:{port}", home)
    below = list(descendants(running.launcher_pid))
    yield running
    down = vlmfleet("down", home, port, serve_config)
    output, _ = down.communicate()
    assert down.returncode == 0, output
    assert not [command_line(pid) for pid in below if alive(pid)]


@pytest.fixture
def client(cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0) as made:
        yield made


@pytest.fixture
async def async_client(cluster: Cluster):
    async with openai.AsyncOpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key, max_retries=0) as made:
        yield made


@pytest.fixture(scope="session")
def held_out() -> list[Example]:
    """Forty examples that the model was never trained on, the tasks in equal shares."""
    return list(examples(HELD_OUT_SEED, 40))


@pytest.fixture(scope="session")
def numbers() -> list[Example]:
    """64 held-out pictures, each of another number."""
    drawn = (draw_read(random.Random(f"{HELD_OUT_SEED}/number/{i}"), 1 + i % 4) for i in range(1000))
    distinct = {example.answer: example for example in drawn}
    return list(distinct.values())[:64]


@pytest.fixture
def image_server() -> Iterator[Callable[[dict[str, bytes]], str]]:
    """Serves files on the one loopback address from which the gateway may fetch."""
    servers: list[ThreadingHTTPServer] = []

    def serve(files: dict[str, bytes]) -> str:
        class Files(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = 200 if self.path in files else 404
                self.send_response(status)
                self.end_headers()
                self.wfile.write(files.get(self.path, b""))

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.2", 0), Files)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.2:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
