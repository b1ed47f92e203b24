"""The Dockerfile's steps in a plain root directory, where there is no container engine: `python -m tests.k8s.plain_root`.

The root is Debian's own minimum (debootstrap) with this machine's Python in `/usr/local`, as Docker's `python:3.11-slim` has
it; then every RUN, COPY, ENV and ARG of a target's stages is carried out there, each command in a chroot, and at the end what
the image is for, as its own user. Needs root, Debian and `debootstrap`; what pip and apt are set up with goes along.

    python -m tests.k8s.plain_root /tmp/root gateway
    cp -a /tmp/root /tmp/vllm
    python -m tests.k8s.plain_root /tmp/vllm engine ENGINE=vllm BUILD=cpu --done base
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.k8s.manifests import CHECKOUT

DOCKERFILE = CHECKOUT / "docker" / "Dockerfile"
RELEASE = "bookworm"
# What CPython is linked against.
LIBRARIES = "ca-certificates,libssl3,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,libreadline8,zlib1g,libncursesw6,libuuid1"
# How this machine reaches its registries; an image is built without.
SETTINGS = ("/etc/apt", "/etc/pip.conf", "/etc/ssl", "/etc/resolv.conf", "/etc/hosts")
VARIABLES = ("PIP_", "UV_", "SSL_", "REQUESTS_", "http", "HTTP")
BOUND = ("proc", "dev")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

CHECKS = {
    "gateway": "vlmfleet --help > /dev/null && ray --version && test -w /var/lib/vlmfleet && ! test -w /opt/vlmfleet"
    " && python -c 'import deployments.apps, cli' && /usr/local/bin/vlmfleet-haproxy -v",
    "engine": "ray --version && python -c 'import deployments.apps' && for made in /opt/engines/*; do"
    " $made/bin/python --version; cat $made/vlmfleet-made; done",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: `RUN` and all behind it."""

    name: str
    words: str


@dataclass(slots=True)
class Root:
    """A directory that becomes an image. `variables` are those of ENV and ARG, `user` who runs what follows."""

    folder: Path
    arguments: dict[str, str]
    bound: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"

    def do(self, step: Step) -> None:
        getattr(self, f"_{step.name.lower()}", self._nothing)(step.words)

    def run(self, command: str) -> None:
        """In the chroot, with a mount namespace of its own. Raises CalledProcessError."""
        inherited = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
        environment = {"PATH": PATH, "HOME": "/tmp", **inherited, **self.variables}
        mounts = [f"mkdir -p {self.folder}/{one} && mount --rbind /{one} {self.folder}/{one}" for one in self.bound]
        words = ["chroot", f"--userspec={self.user}:{self.user}", str(self.folder), "/usr/bin/env", "-i"]
        words += [f"{name}={value}" for name, value in environment.items()]
        words += ["/bin/bash", "-o", "pipefail", "-c", f"cd {self.workdir} && {command}"]
        subprocess.run(["unshare", "--mount", "bash", "-ec", "\n".join([*mounts, shlex.join(words)])], check=True)

    def _run(self, words: str) -> None:
        print(f"RUN {words[:100]}", flush=True)
        self.run(words)

    def _copy(self, words: str) -> None:
        *sources, target = words.split()
        place = self.folder / self.workdir.lstrip("/") / target
        for source in sources:
            if (CHECKOUT / source).is_dir():
                shutil.copytree(CHECKOUT / source, place, dirs_exist_ok=True)
            else:
                shutil.copy(CHECKOUT / source, place / source if target.endswith("/") else place)

    def _env(self, words: str) -> None:
        for pair in shlex.split(words):
            name, _, value = pair.partition("=")
            self.variables[name] = re.sub(r"\$\{(\w+)\}", lambda found: self.variables[found[1]], value)

    def _arg(self, words: str) -> None:
        name, _, value = words.partition("=")
        self.variables[name] = self.arguments.get(name, value)

    def _workdir(self, words: str) -> None:
        self.workdir = words
        (self.folder / words.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _user(self, words: str) -> None:
        self.user = words

    def _nothing(self, words: str) -> None:
        """SHELL is bash with pipefail, which `run` takes anyway."""


def stages(text: str) -> dict[str, tuple[str, list[Step]]]:
    """Stage -> what it is from, and its steps. Pure."""
    found: dict[str, tuple[str, list[Step]]] = {}
    steps: list[Step] = []
    for line in re.sub(r"\\\n|^#.*\n", "", text, flags=re.MULTILINE).splitlines():
        name, _, words = line.partition(" ")
        if name == "FROM":
            image, _, stage = words.split()
            steps = []
            found[stage] = (image, steps)
        elif name:
            steps.append(Step(name, words))
    return found


def steps_of(target: str, found: dict[str, tuple[str, list[Step]]], done: str = "") -> Iterator[Step]:
    """From the outermost stage on; of the stage `done`, which the root has, settings alone. Pure."""
    image, steps = found[target]
    if image in found:
        yield from steps_of(image, found, done)
    yield from (step for step in steps if target != done or step.name in ("ENV", "ARG", "WORKDIR"))


def plain(folder: Path) -> None:
    """Debian's minimum, and this Python."""
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", RELEASE, str(folder)], check=True)
    for setting in filter(os.path.exists, SETTINGS):
        copy = ["cp", "--archive", "--remove-destination", "--no-target-directory"]
        subprocess.run([*copy, setting, f"{folder}{setting}"], check=True)
    prefix = folder / "usr" / "local"
    shutil.copytree(sys.base_prefix, prefix, dirs_exist_ok=True, symlinks=True, ignore=_installed)
    for script in prefix.glob("bin/pip*"):
        script.write_text(re.sub(r"\A#!.*", "#!/usr/local/bin/python3", script.read_text()))


def _installed(folder: str, names: list[str]) -> set[str]:
    """What was added to this Python: an image has pip alone."""
    return {name for name in names if folder.endswith("site-packages") and not name.startswith(("pip", "setuptools"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", choices=CHECKS)
    parser.add_argument("arguments", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--done", default="", help="a stage that the folder has already, as a copy of another root's")
    parser.add_argument("--bind", action="append", default=[], help="a directory of this machine that pip needs")
    asked = parser.parse_args()
    if not asked.folder.exists():
        plain(asked.folder)
    arguments = dict(pair.split("=", 1) for pair in asked.arguments)
    root = Root(asked.folder, arguments, [*BOUND, *(path.strip("/") for path in asked.bind)])
    for step in steps_of(asked.target, stages(DOCKERFILE.read_text()), asked.done):
        root.do(step)
    root.run(CHECKS[asked.target])
    print(f"{asked.target}: every step passed", flush=True)


if __name__ == "__main__":
    main()
