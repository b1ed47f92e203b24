"""What LMDeploy's server and its engine process say to each other, over a Unix socket that only its owner can reach.

LMDeploy 0.18.0 listens on TCP for it, and unpickles what comes: so any user of the machine could run code as the engine's.
Here it is a socket in `ENGINE_FOLDER`: a folder of mode 0700 that comes and goes with the server.
"""

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import zmq
import zmq.asyncio
from lmdeploy.pytorch.engine.mp_engine import zmq_rpc
from lmdeploy.pytorch.engine.mp_engine.base_worker import EngineOutputGather
from lmdeploy.pytorch.engine.mp_engine.zmq_engine import ZMQMPEngine

VARIABLE = "ENGINE_FOLDER"
ENGINE_PROCESS = ZMQMPEngine._mp_proc


def install() -> None:
    """In this process, and in those that it spawns, which import their main module again."""
    zmq_rpc.AsyncRPCServer, zmq_rpc.AsyncRPCClient = Server, Client
    ZMQMPEngine._mp_proc = staticmethod(run_engine)


def address(name: str) -> str:
    return f"ipc://{os.environ[VARIABLE]}/{name}"


def run_engine(shared_dict: Any, condition: Any, *arguments: Any, **named: Any) -> None:
    """LMDeploy's own, in the engine's process."""
    ENGINE_PROCESS(shared_dict, Told(condition), *arguments, **named)


class Told:
    """The condition by which the engine's process tells its name. LMDeploy ends what keeps it as soon as the name is known, and a
    slow engine, which is still letting go of it then, would end as well.
    """

    def __init__(self, condition: Any) -> None:
        self._condition = condition

    def __enter__(self) -> Any:
        return self._condition.__enter__()

    def __exit__(self, *error: object) -> None:
        with suppress(EOFError, ConnectionError):
            self._condition.__exit__(*error)

    def notify(self) -> None:
        self._condition.notify()


class Server(zmq_rpc.AsyncRPCServer):
    """Its `port` is a name in the folder. All else is LMDeploy's, whose `__init__` would listen on TCP."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.port = uuid.uuid4().hex
        self.socket.bind(address(self.port))
        self.methods: dict[str, Callable[..., Any]] = {}
        self.running = False
        self.stream_output: dict[int, Any] = {}
        self.stream_tasks: dict[int, Any] = {}
        self._stream_idx = 0
        self._engine_output_gather = EngineOutputGather()
        self.tasks: set[Any] = set()


class Client(zmq_rpc.AsyncRPCClient):
    """Connects to the name that the server told as its `port`. LMDeploy's `__init__` would connect to TCP."""

    def __init__(
        self,
        port: str,
        server_alive_callback: Callable[[], bool] | None = None,
        server_sentinel: int | None = None,
        server_dead_callback: Callable[[], None] | None = None,
    ) -> None:
        self.sync_ctx = zmq.Context()
        self.sync_socket = self.sync_ctx.socket(zmq.DEALER)
        self.sync_socket.connect(address(port))
        self.sync_poller = zmq.Poller()
        self.sync_poller.register(self.sync_socket, zmq.POLLIN)
        self.async_ctx = zmq.asyncio.Context.instance()
        self.async_socket = self.async_ctx.socket(zmq.DEALER)
        self.async_socket.connect(address(port))
        self.pending: dict[int, Any] = {}
        self._server_liveness = zmq_rpc._RPCServerLiveness(
            self.pending, server_alive_callback, server_sentinel, server_dead_callback
        )
        self._listen_task = None
        self.running = False
