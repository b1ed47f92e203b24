"""The places where LMDeploy 0.18.0 knows its devices by name. Each function replaces one, and says why."""

import dataclasses
from typing import Any

import lmdeploy
import torch
from lmdeploy import messages, utils
from lmdeploy.pytorch import config
from lmdeploy.pytorch.backends import selector
from lmdeploy.pytorch.engine.cache_engine import plan, state
from lmdeploy.pytorch.engine.model_agent import agent
from lmdeploy.vl import engine as vision

from lmdeploy_cpu.backend import CpuOpsBackend
from lmdeploy_cpu.config import CpuEngineConfig
from lmdeploy_cpu.cuda import replace_torch_cuda


def replace_cuda() -> None:
    """All of it, for this process."""
    replace_torch_cuda()
    _choose_backend()
    _choose_config()
    _run_model_on_cpu()
    _allocate_caches_on_cpu()
    _accept_dtypes()


def _choose_backend() -> None:
    """An unknown device has no operators."""
    original = selector._get_backend

    def get_backend() -> Any:
        on_cpu = selector.get_device_manager().current_context().device_type == "cpu"
        return CpuOpsBackend if on_cpu else original()

    selector._get_backend = get_backend


def _choose_config() -> None:
    """The command line makes a `PytorchEngineConfig`, which refuses unknown devices."""
    lmdeploy.PytorchEngineConfig = messages.PytorchEngineConfig = CpuEngineConfig


def _run_model_on_cpu() -> None:
    """The model agent moves everything to "cuda" and back.

    Those moves are copies, and the engine relies on that: it goes on writing to what it has sent. From a CPU to a CPU
    they would give the same tensor, so here they clone.
    """
    init, to_cpu = agent.BaseModelAgent.__init__, agent.BatchedOutputs.to_cpu

    def init_on_cpu(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.device = "cpu"

    def to_device(value: Any, non_blocking: bool = False) -> Any:
        if value is None or isinstance(value, torch.Tensor):
            return None if value is None else value.clone()
        return _with_tensors_of_its_own(value.to_device("cpu"))

    agent.BaseModelAgent.__init__ = init_on_cpu
    agent._try_to_cuda = to_device
    agent.BatchedOutputs.to_cpu = lambda self: _with_tensors_of_its_own(to_cpu(self))


def _allocate_caches_on_cpu() -> None:
    """The cache engines allocate on "cuda"."""
    allocate, allocate_states = plan.BlockCachePlan.allocate, state._allocate_state_caches

    def allocate_on_cpu(self: Any, num_logical_blocks: int, device: Any) -> Any:
        return allocate(self, num_logical_blocks=num_logical_blocks, device="cpu")

    def allocate_states_on_cpu(tensor_specs: Any, num_caches: int, device: Any) -> Any:
        return allocate_states(tensor_specs, num_caches=num_caches, device="cpu")

    plan.BlockCachePlan.allocate = allocate_on_cpu
    state._allocate_state_caches = allocate_states_on_cpu


def _accept_dtypes() -> None:
    """A CPU computes bfloat16 whatever `torch.cuda` says, and pictures are float32 where the model is."""
    for module in (utils, config, vision):
        module.is_bf16_supported = lambda device_type="cpu": True
    resolve = vision._resolve_mm_feature_dtype

    def resolve_on_cpu(hf_config: Any, backend_config: Any) -> Any:
        return torch.float32 if backend_config.dtype == "float32" else resolve(hf_config, backend_config)

    vision._resolve_mm_feature_dtype = resolve_on_cpu


def _with_tensors_of_its_own(value: Any) -> Any:
    """A dataclass whose tensors share no storage with anything."""
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if isinstance(part, torch.Tensor):
            object.__setattr__(value, field.name, part.clone())
    return value
