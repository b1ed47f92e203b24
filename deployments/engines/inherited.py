"""Which variables of our environment an engine's server inherits: a list of what engines need, so no secret is among them.

An engine runs code that its model's publisher wrote. What we know (the ledger's store, keys, the cloud's credentials) is
none of its business.
"""

from collections.abc import Mapping

# What any program needs; where its caches lie; which compiler makes its kernels; which libraries are loaded.
NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HF_MODULES_CACHE",
        "CC", "CXX", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD",
    }
)  # fmt: skip
# Accelerators and what computes on them.
PREFIXES = (
    "LC_", "CUDA_", "CUDNN_", "CUBLAS_", "NCCL_", "HIP_", "HSA_", "ROCM_", "ROCR_",
    "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MALLOC_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_",
    "PYTORCH_", "TRITON_",
)  # fmt: skip
# Ray sets it in its actors; an engine knows better, or its card says.
NOT = "OMP_NUM_THREADS"
# Only where the weights come from a hub: its token, its settings, and the way there.
HUB_NAMES = frozenset(
    {"HUGGING_FACE_HUB_TOKEN", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
)
HUB_PREFIXES = ("HF_",)
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})  # in either case


def inherited(ours: Mapping[str, str], *, hub: bool) -> dict[str, str]:
    """Of these variables. `hub`: the engine fetches its weights itself. Pure."""
    return {name: value for name, value in ours.items() if _is_needed(name) or (hub and _is_needed_for_a_hub(name))}


def _is_needed(name: str) -> bool:
    return name in NAMES or (name.startswith(PREFIXES) and name != NOT)


def _is_needed_for_a_hub(name: str) -> bool:
    return name in HUB_NAMES or name.startswith(HUB_PREFIXES) or name.lower() in PROXIES
