"""The operators of the CPU: three of our own, the rest LMDeploy's defaults."""

from typing import Any

from lmdeploy.pytorch.backends.attention import PagedAttentionBuildSpec
from lmdeploy.pytorch.backends.default import DefaultOpsBackend
from lmdeploy.pytorch.backends.flash_attention import FlashAttentionBuildSpec
from lmdeploy.pytorch.backends.multinomial_sampling import MultinomialSamplingBuildSpec

from lmdeploy_cpu.attention import CpuAttentionMetadata, CpuFlashAttention, CpuPagedAttention, metadata_of
from lmdeploy_cpu.sampling import CpuMultinomialSampling


class CpuOpsBackend(DefaultOpsBackend):
    """What LMDeploy asks of a device."""

    @staticmethod
    def get_name() -> str:
        return "cpu"

    @classmethod
    def build_op(cls, spec: Any, *, enable_deterministic: bool = False) -> Any:
        match spec:
            case PagedAttentionBuildSpec():
                return CpuPagedAttention(spec)
            case FlashAttentionBuildSpec():
                return CpuFlashAttention(spec)
            case MultinomialSamplingBuildSpec():
                return CpuMultinomialSampling()
        return super().build_op(spec, enable_deterministic=enable_deterministic)

    @staticmethod
    def get_attention_metadata_cls() -> type[CpuAttentionMetadata]:
        return CpuAttentionMetadata

    @classmethod
    def update_step_context(cls, step_context: Any) -> Any:
        step_context.attn_metadata = metadata_of(step_context)
        return step_context

    @staticmethod
    def ccl_backend() -> str:
        return "gloo"

    @staticmethod
    def device_count() -> int:
        return 1
