"""Let the packaged torchvision, a CUDA build, import under a CPU build of torch.

Its C++ extension does not load there, so `torchvision::nms` is never registered and `import torchvision` fails. What
vLLM and Transformers use of it is Python on torch, so it is enough to declare the two missing schemas first. Installed
beside a `.pth` file into the engine's environment, this acts in all of its processes; it does nothing where torch has
CUDA or where torchvision is a CPU build.
"""

import importlib.abc
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class DeclareOperatorsFirst(importlib.abc.MetaPathFinder):
    """Finds nothing; uses the moment before torchvision is first imported."""

    library: object = None  # kept, because torch drops the declarations of a library that is collected

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            self._declare()
        return None

    def _declare(self) -> None:
        import torch

        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "DEF")
            for schema in MISSING:
                library.define(schema)
            DeclareOperatorsFirst.library = library


sys.meta_path.insert(0, DeclareOperatorsFirst())
