"""Tiny checkpoints with random weights, of the real architectures: `python tiny_vlms FAMILY FOLDER [SETTINGS]`.

For an environment that has Transformers. Real configurations, processors and templates, a vocabulary of single bytes. They
answer noise, always the same. SETTINGS is JSON, for the family's `write`.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    family, folder, *settings = sys.argv[1:]
    import_module(family).write(Path(folder), **json.loads(*settings or ["{}"]))
