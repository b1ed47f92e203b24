"""The tiny InternVL2 of `tiny_internvl2.py`: where it runs, its weights, its card, pictures for it."""

import base64
import io
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalog.catalog import load_card
from deployments.engines.environment import EngineEnvironment, EngineEnvironmentError, find_environment

HERE = Path(__file__).parent
ENGINES = HERE.parents[1] / os.environ.get("VLMFLEET_ENGINES", ".venvs")
CARD_FILE = HERE / "tiny-internvl2.yaml"
CARD = load_card(CARD_FILE)


def installed_lmdeploy() -> EngineEnvironment:
    """Skips the test where there is none, and says how to make it."""
    try:
        return find_environment(ENGINES, CARD.engine.name, CARD.engine.version)
    except EngineEnvironmentError as error:
        pytest.skip(str(error))


def write_weights(environment: EngineEnvironment, folder: Path) -> None:
    """`folder/original`, which LMDeploy serves, and `folder/native`, the same in Transformers."""
    run_in(environment, HERE / "tiny_internvl2.py", str(folder))


def run_in(environment: EngineEnvironment, script: Path, *arguments: str, given: str = "") -> str:
    """What a script says that runs in an engine's environment."""
    done = subprocess.run(
        [str(environment.python), str(script), *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def picture(width_px: int, height_px: int, seed: int = 0) -> str:
    """A PNG of coloured squares, as base64."""
    squares = Image.frombytes("RGB", (8, 8), random.Random(seed).randbytes(8 * 8 * 3))
    return encoded(squares.resize((width_px, height_px), Image.Resampling.NEAREST))


def encoded(picture: Image.Image, **options: Any) -> str:
    """As a PNG, as base64."""
    out = io.BytesIO()
    picture.save(out, "PNG", **options)
    return base64.b64encode(out.getvalue()).decode()


def image(png: str, **others: Any) -> dict[str, Any]:
    """The part of a message."""
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}", **others}}
