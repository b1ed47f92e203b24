import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from environments.installer import pip_settings, uv_arguments, uv_variables

CHECKOUT = Path(__file__).parents[2]


def listed(**variables: str) -> dict[str, str]:
    """What pip says of its settings under these variables, and nothing else."""
    environment = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, **variables}
    pip = [sys.executable, "-m", "pip", "config", "list"]
    return pip_settings(subprocess.run(pip, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize(
    ("setting", "value", "variable", "expected"),
    [
        ("index-url", "https://one/simple", "UV_DEFAULT_INDEX", "https://one/simple"),
        (
            "extra-index-url",
            "https://two/simple\nhttps://three/simple",
            "UV_INDEX",
            "https://two/simple https://three/simple",
        ),
        ("find-links", "/wheels\n/more", "UV_FIND_LINKS", "/wheels,/more"),
        ("constraint", "a.txt b.txt", "UV_CONSTRAINT", "a.txt b.txt"),
        ("trusted-host", "one:8080", "UV_INSECURE_HOST", "one:8080"),
        ("cert", "/ca.pem", "SSL_CERT_FILE", "/ca.pem"),
        ("client-cert", "/me.pem", "SSL_CLIENT_CERT", "/me.pem"),
        ("proxy", "http://proxy:3128", "ALL_PROXY", "http://proxy:3128"),
        ("timeout", "180", "UV_HTTP_TIMEOUT", "180"),
        ("default-timeout", "180", "UV_HTTP_TIMEOUT", "180"),
    ],
)
def test_what_pip_is_set_up_with_is_handed_to_uv(setting: str, value: str, variable: str, expected: str):
    assert uv_variables({setting: value}, {})[variable] == expected


def test_pip_without_settings_leaves_uv_as_it_is():
    assert uv_variables({}, {}) == {}
    assert uv_arguments({}) == []


@pytest.mark.parametrize(
    ("settings", "users"),
    [
        ({"index-url": "https://one"}, "UV_DEFAULT_INDEX"),
        ({"index-url": "https://one"}, "UV_INDEX_URL"),
        ({"extra-index-url": "https://two"}, "UV_INDEX"),
        ({"extra-index-url": "https://two"}, "UV_EXTRA_INDEX_URL"),
        ({"constraint": "a.txt"}, "UV_CONSTRAINT"),
        ({"cert": "/ca.pem"}, "SSL_CERT_FILE"),
    ],
)
def test_what_the_user_tells_uv_wins(settings: dict[str, str], users: str):
    assert uv_variables(settings, {users: "theirs"}) == {}


def test_of_all_indexes_the_best_version_is_taken():
    """As pip does, unless the user wants it otherwise."""
    extra = {"extra-index-url": "https://two"}
    assert uv_variables(extra, {})["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert "UV_INDEX_STRATEGY" not in uv_variables(extra, {"UV_INDEX_STRATEGY": "first-index"})


def test_everything_is_compiled_where_no_import_may_write_what_it_compiled():
    assert uv_variables({}, {"PYTHONDONTWRITEBYTECODE": "1"}) == {"UV_COMPILE_BYTECODE": "1"}
    assert uv_variables({}, {"PYTHONDONTWRITEBYTECODE": "1", "UV_COMPILE_BYTECODE": "0"}) == {}


@pytest.mark.parametrize(("value", "arguments"), [("1", ["--no-index"]), ("Yes", ["--no-index"]), ("false", [])])
def test_no_index_is_an_argument(value: str, arguments: list[str]):
    """uv has no variable for it."""
    assert uv_arguments({"no-index": value}) == arguments


def test_pips_variables_are_read():
    settings = listed(PIP_FIND_LINKS="/wheels /more", PIP_NO_INDEX="1")
    assert (settings["find-links"], settings["no-index"]) == ("/wheels /more", "1")


def test_pips_files_are_read(tmp_path: Path):
    """What is for `pip install` wins over what is for all commands; what is for others is nothing to us."""
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one/simple\nextra-index-url =\n  https://two/simple\n  https://three/simple\n"
        "[install]\nindex-url = https://four/simple\n[list]\nformat = json\n"
    )
    settings = listed(PIP_CONFIG_FILE=str(file))
    assert settings["index-url"] == "https://four/simple"
    assert settings["extra-index-url"].split() == ["https://two/simple", "https://three/simple"]
    assert "format" not in settings


def installed_into(home: Path, package: Path, **variables: str) -> str:
    """What the installer prints that installs `package`, without an index, into an environment of its own."""
    venv.create(home, with_pip=True, symlinks=True)
    command = [home / "bin" / "python", "-m", "environments.installer", "--no-deps", package]
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home), **variables}
    ended = subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True, text=True)
    subprocess.run([home / "bin" / "python", "-c", "import tiny"], check=True)
    return ended.stdout


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A wheel of one empty module."""
    wheel = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny-1.dist-info/RECORD", "")
    return wheel


def test_where_uv_cannot_be_had_pip_installs_and_says_so(tmp_path: Path, tiny: Path):
    """Here no index has it."""
    assert "cannot be had here: pip installs" in installed_into(tmp_path / "home", tiny)


def test_pip_installs_where_it_is_asked_to(tmp_path: Path, tiny: Path):
    assert "cannot be had" not in installed_into(tmp_path / "home", tiny, VLMFLEET_INSTALLER="pip")


def test_another_installer_is_refused():
    environment = {**os.environ, "VLMFLEET_INSTALLER": "conda"}
    command = [sys.executable, "-m", "environments.installer", "tiny"]
    ended = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "VLMFLEET_INSTALLER is 'conda'; it can be uv or pip" in ended.stderr
