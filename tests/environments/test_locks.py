"""What GPU builds consist of, beside the CPU builds that are tested here."""

import subprocess

import pytest

from environments.engine import RECIPES, Recipe
from environments.installer import has_uv, uv
from environments.locks import LOCAL, pins, resolved

TRITON = "CUDA's torch pins its own; on a CPU it is imported and compiles nothing"
TVM = "this engine pins its own, for its kernels; on a CPU xgrammar alone needs it"
# (environment, package) -> why its version on a GPU is not the one on a CPU.
ALLOWED = {
    ("vllm", "triton"): TRITON,
    ("lmdeploy", "triton"): TRITON,
    ("transformers", "triton"): TRITON,
    ("vllm", "apache-tvm-ffi"): TVM,
    ("lmdeploy", "apache-tvm-ffi"): TVM,
    ("vllm-0.23.0", "apache-tvm-ffi"): TVM,
    ("vllm-0.23.0", "xgrammar"): "the newest that takes this vLLM's apache-tvm-ffi and Transformers 5",
}
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@pytest.fixture(scope="module")
def _index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An index that uv reaches from here."""
    if not has_uv():
        pytest.skip("uv is not installed: unset VLMFLEET_INSTALLER, and make install")
    asked = tmp_path_factory.mktemp("index") / "asked.txt"
    asked.write_text("uv")
    try:
        uv("pip", "compile", "--quiet", "--no-cache", str(asked), without=LOCAL)
    except subprocess.CalledProcessError:
        pytest.skip("no package index is reached from here")


@each_recipe
def test_a_gpu_has_the_versions_of_a_cpu(recipe: Recipe):
    """But for the differences that have a reason; a reason without a difference is out of date."""
    on_gpu, on_cpu = pins(recipe.pins("gpu")), pins(recipe.pins("cpu"))
    differences = {(recipe.name, name) for name in on_gpu.keys() & on_cpu.keys() if on_gpu[name] != on_cpu[name]}
    assert differences == {(name, package) for name, package in ALLOWED if name == recipe.name}


@each_recipe
def test_a_lock_holds_what_is_asked_for(recipe: Recipe):
    locked = pins(recipe.pins("gpu"))
    assert set(recipe.gpu) <= {f"{name}=={version}" for name, version in locked.items()}


@each_recipe
@pytest.mark.usefixtures("_index")
def test_a_lock_is_what_is_resolved_today(recipe: Recipe):
    """Else `make locks`: a pin was changed, or a version was taken back."""
    assert recipe.pins("gpu").read_text() == resolved(recipe)
