"""LMDeploy's own API server, with its documented arguments: `python lmdeploy_server.py MODEL --backend ...`.

Runs in LMDeploy's environment, never in ours. Beside what `lmdeploy serve api_server` does:

- Only `/health` is open without the token (`bearer`).
- What it says to its engine process goes through a socket of its own (`lmdeploy_rpc`).
- The chat endpoint is `lmdeploy_chat`, which speaks as vLLM does.
- A grammar that allows no token ends its answer, not the engine (`lmdeploy_guided`).
- `LMDEPLOY_CPU=1` puts the PyTorch engine on the CPU (`lmdeploy_cpu`): here, and in the process that it spawns, which
  imports this file again.
"""

import os
import sys
from typing import Any

from lmdeploy_pinned import refuse_other_versions

refuse_other_versions()
if os.environ.get("LMDEPLOY_CPU") == "1":
    import lmdeploy_cpu

    lmdeploy_cpu.install()
import lmdeploy_guided  # noqa: E402  # it imports LMDeploy, which the CPU must precede
import lmdeploy_rpc  # noqa: E402

lmdeploy_guided.install()
lmdeploy_rpc.install()


def main() -> None:
    """Serve until told to stop."""
    import lmdeploy_chat
    from lmdeploy.cli.entrypoint import run

    lmdeploy_chat.install()
    _shut_the_door()
    sys.argv = ["lmdeploy", "serve", "api_server", *sys.argv[1:]]
    run()


def _shut_the_door() -> None:
    """LMDeploy makes its application and hands it to uvicorn in one function."""
    import uvicorn
    from bearer import Bearer

    original = uvicorn.run

    def run(app: Any, **settings: Any) -> None:
        original(Bearer(app), **settings)

    uvicorn.run = run


if __name__ == "__main__":
    main()
