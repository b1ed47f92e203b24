"""Write the committed renders anew, and say what the change does: `python -m tests.k8s.golden`."""

from deployments.kubernetes.changes import changes_of
from tests.k8s.manifests import GOLDEN, RENDERS, golden, kustomized, manifests


def main() -> None:
    for name in RENDERS:
        render = kustomized(name)
        for change in changes_of(golden(name), manifests(render)):
            print(f"{name:8} {change}")
        (GOLDEN / f"{name}.yaml").write_text(render, encoding="utf-8")


if __name__ == "__main__":
    main()
