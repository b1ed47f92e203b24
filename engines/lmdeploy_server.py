"""LMDeploy's own API server, with its documented arguments: `python lmdeploy_server.py MODEL --backend ...`.

Runs in LMDeploy's environment, never in ours. Beside what `lmdeploy serve api_server` does:

- The API key comes from `LMDEPLOY_API_KEY`: command lines can be read by every user of the machine.
- The chat endpoint is `lmdeploy_chat`, which speaks as vLLM does.
- `LMDEPLOY_CPU=1` puts the PyTorch engine on the CPU (`lmdeploy_cpu`): here, and in the process that it spawns, which
  imports this file again.
"""

import os
import sys

from lmdeploy_pinned import refuse_other_versions

refuse_other_versions()
if os.environ.get("LMDEPLOY_CPU") == "1":
    import lmdeploy_cpu

    lmdeploy_cpu.install()


def main() -> None:
    """Serve until told to stop."""
    import lmdeploy_chat
    from lmdeploy.cli.entrypoint import run

    lmdeploy_chat.install()
    sys.argv = ["lmdeploy", "serve", "api_server", *sys.argv[1:], "--api-keys", os.environ.pop("LMDEPLOY_API_KEY")]
    run()


if __name__ == "__main__":
    main()
