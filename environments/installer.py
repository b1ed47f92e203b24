"""Install packages into this Python's environment: `python -m environments.installer ARGUMENTS`, those of `pip install`.

uv installs them; this Python's pip fetches uv first, once. Where uv cannot be had, and with `VLMFLEET_INSTALLER=pip`,
pip installs them. Standard library only: this runs before anything is installed.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

UV = "0.13.9"
CHOICE = "VLMFLEET_INSTALLER"

# pip's setting -> uv's variables of the same meaning. The first is set, unless the user has set one of them.
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "constraint": ("UV_CONSTRAINT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("ALL_PROXY", "HTTPS_PROXY", "all_proxy", "https_proxy"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
# uv's lists that are divided by commas; its others, and all of pip's, are divided by white space.
COMMAS = {"UV_FIND_LINKS"}
# What pip takes as true.
TRUE = {"1", "on", "t", "true", "y", "yes"}


def pip_settings(listed: str) -> dict[str, str]:
    """Setting -> value, from what `pip config list` prints. A later section wins, as in `pip install`. Pure."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, setting = name.partition(".")
        if section in sections:
            sections[section][setting] = ast.literal_eval(value)
    return sections["global"] | sections["install"] | sections[":env:"]


def uv_variables(settings: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables for uv, less those that the user has set himself. Pure."""
    variables: dict[str, str] = {}
    for setting, names in VARIABLES.items():
        words = settings.get(setting, "").split()
        if words and not any(name in environment for name in names):
            variables[names[0]] = ("," if names[0] in COMMAS else " ").join(words)
    # As pip: the best version of all indexes. By itself uv keeps to the first index that has the package.
    if "UV_INDEX" in variables and "UV_INDEX_STRATEGY" not in environment:
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # A module is compiled by its first import, which gives the first answer sooner than compiling all. Where imports must
    # not write what they compiled, every start would compile anew: there uv compiles all, as pip does.
    if "PYTHONDONTWRITEBYTECODE" in environment and "UV_COMPILE_BYTECODE" not in environment:
        variables["UV_COMPILE_BYTECODE"] = "1"
    return variables


def uv_arguments(settings: Mapping[str, str]) -> list[str]:
    """Those of pip's settings for which uv has no variable. Pure."""
    return ["--no-index"] if settings.get("no-index", "").lower() in TRUE else []


@cache
def settings_of_pip() -> dict[str, str]:
    """What this Python's pip is set up with: by files and by `PIP_*` variables."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True)
    return pip_settings(listed.stdout)


def has_uv() -> bool:
    """Whether this Python has the pinned uv, and it runs here."""
    asked = subprocess.run([sys.executable, "-m", "uv", "--version"], check=False, capture_output=True, text=True)
    return asked.stdout.split()[:2] == ["uv", UV]


def fetch_uv() -> None:
    """Let pip put the pinned uv beside this Python: a wheel or nothing, for building it takes a compiler of Rust."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--progress-bar", "off", "--only-binary", ":all:"]
    subprocess.run([*pip, f"uv=={UV}"], check=False)


@cache
def chosen() -> str:
    """`uv` or `pip`. Says so where it is pip because uv cannot be had."""
    choice = os.environ.get(CHOICE, "uv")
    if choice not in {"uv", "pip"}:
        raise SystemExit(f"{CHOICE} is {choice!r}; it can be uv or pip")
    if choice == "uv" and not has_uv():
        fetch_uv()
        if not has_uv():
            print(f"uv {UV} cannot be had here: pip installs, which takes some minutes longer", flush=True)
            return "pip"
    return choice


def uv(*arguments: str, without: Collection[str] = ()) -> None:
    """`uv ARGUMENTS`, set up as pip is, but for the settings `without`. Raises CalledProcessError."""
    settings = {name: value for name, value in settings_of_pip().items() if name not in without}
    environment = {**os.environ, **uv_variables(settings, os.environ)}
    subprocess.run([sys.executable, "-m", "uv", *arguments, *uv_arguments(settings)], check=True, env=environment)


def install(python: Path, *arguments: str) -> None:
    """`pip install ARGUMENTS` into the environment whose interpreter is `python`; it needs no pip of its own."""
    if chosen() == "uv":
        try:
            uv("pip", "install", "--python", str(python), *arguments)
        except subprocess.CalledProcessError as failed:
            raise SystemExit(f"uv could not install; {CHOICE}=pip lets pip try") from failed
    else:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--progress-bar", "off"]
        subprocess.run([*pip, *arguments], check=True)


if __name__ == "__main__":
    install(Path(sys.executable), *sys.argv[1:])
