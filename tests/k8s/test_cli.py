"""`vlmfleet k8s`: writes what has changed, and says what applying it does."""

import shutil
from pathlib import Path

import pytest

from cli.main import main
from tests.k8s.manifests import CHECKOUT, GOLDEN


def vlmfleet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["vlmfleet", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), *capsys.readouterr()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    return lambda *words: vlmfleet(capsys, monkeypatch, *words)


def test_render_writes_what_has_changed(run, tmp_path: Path):
    """Once; a second time there is nothing to do."""
    shutil.copy(CHECKOUT / "k8s/overlays/dev-cpu/fleet.yaml", tmp_path)
    status, out, _ = run("k8s", "render", str(tmp_path))
    assert (status, out) == (0, f"{tmp_path.name}: serve-config.yaml, worker-groups.yaml, cards.yaml changed\n")
    assert run("k8s", "render", str(tmp_path))[1] == f"{tmp_path.name}: nothing changed\n"


def test_a_bad_fleet_is_one_line(run, tmp_path: Path):
    """With the file and the field."""
    (tmp_path / "fleet.yaml").write_text("models: every")
    status, _, err = run("k8s", "render", str(tmp_path))
    assert status == 1
    assert err.startswith(f"vlmfleet: {tmp_path}/fleet.yaml: images: Field required")
    assert err.count("\n") == 1


def test_changes_are_labelled(run):
    """From one render to another."""
    status, out, _ = run("k8s", "changes", str(GOLDEN / "prod.yaml"), str(GOLDEN / "spot.yaml"))
    assert status == 0
    assert "NEW CLUSTER   RayService/vlmfleet" in out
    assert "in place      HTTPRoute/vlmfleet removed" in out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"words", "document 1 is no Kubernetes object"),
        (b"[1, 2]", "document 1 is no Kubernetes object"),
        (b"{kind: A, metadata: {name: b}}\n---\n{kind: A}", "document 2 is no Kubernetes object"),
        (b"{kind: A, metadata: words}", "document 1 is no Kubernetes object"),
        (b"a: [", "is no YAML"),
        (b"\xff\x00", "is no YAML"),
    ],
)
def test_what_is_no_render_is_one_line(run, tmp_path: Path, content: bytes, reason: str):
    file = tmp_path / "render.yaml"
    file.write_bytes(content)
    status, _, err = run("k8s", "changes", str(file), str(GOLDEN / "prod.yaml"))
    assert status == 1
    assert err.startswith(f"vlmfleet: {file}")
    assert reason in err
    assert err.count("\n") == 1


def test_a_render_that_is_not_there_is_one_line(run, tmp_path: Path):
    status, _, err = run("k8s", "changes", str(tmp_path / "no.yaml"), str(tmp_path))
    assert (status, err) == (1, f"vlmfleet: {tmp_path}/no.yaml cannot be read: No such file or directory\n")
