"""The PyTorch engine's configuration on a CPU."""

from dataclasses import dataclass

from lmdeploy.messages import PytorchEngineConfig


@dataclass
class CpuEngineConfig(PytorchEngineConfig):
    """`PytorchEngineConfig` with device and dtype of its own: "auto" is float32, which a CPU computes fastest."""

    def __post_init__(self) -> None:
        """Let the original check everything as if for a GPU, then set what it would refuse."""
        asked, self.dtype = self.dtype, "auto"
        self.device_type = "cuda"
        super().__post_init__()
        self.dtype = "float32" if asked == "auto" else asked
        self.device_type = "cpu"
        self.eager_mode = True
        self.distributed_executor_backend = "uni"
