"""A CPU device for LMDeploy's PyTorch engine, for development and tests: right answers, not speed.

LMDeploy 0.18.0 runs on cuda, ascend, maca and camb. All the same, its PyTorch engine has a plain torch implementation of
nearly every operator. What is missing is here, added from outside, with no installed file edited:

| module | stands in for |
|---|---|
| `attention` | attention over the paged cache, and within the pictures of a vision tower |
| `sampling` | the sampling kernel: the same seed, the same token |
| `backend` | the table of operators, which takes the rest from LMDeploy's defaults |
| `config` | the engine's configuration, which knows neither this device nor float32 |
| `cuda` | streams, events and memory sizes of `torch.cuda`, which the engine calls whatever its device |
| `device` | the few places where the engine names the device "cuda" |

Not here: Triton kernels, CUDA graphs, memory sizing, tensor parallel, TurboMind, quantised caches. They need a GPU.
"""

import os

from lmdeploy_pinned import refuse_other_versions


def install() -> None:
    """Make "cpu" the device of every PyTorch engine that this process builds. Call it once, before importing LMDeploy.

    Raises SystemExit for any other version of LMDeploy: what is replaced is private, and differs from version to version.
    """
    refuse_other_versions()
    # LMDeploy's checks and its warm-up would allocate on "cuda", and its rotary embedding would be compiled.
    os.environ |= {"LMDEPLOY_ENABLE_CHECK_ENV": "0", "LMDEPLOY_SKIP_WARMUP": "1", "TORCHDYNAMO_DISABLE": "1"}
    from lmdeploy_cpu.device import replace_cuda

    replace_cuda()
