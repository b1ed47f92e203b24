"""The one version of LMDeploy whose private parts the modules beside this one know."""

from importlib.metadata import version

LMDEPLOY = "0.18.0"


def refuse_other_versions() -> None:
    """Raises SystemExit, which says how to get the right one."""
    found = version("lmdeploy")
    if found != LMDEPLOY:
        raise SystemExit(f"this is made for LMDeploy {LMDEPLOY}, but here is {found}; run: make engine-lmdeploy")
