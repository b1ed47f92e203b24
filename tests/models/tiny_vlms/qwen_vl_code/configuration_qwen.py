"""Qwen-VL's configuration: config.json says everything."""

from transformers import PretrainedConfig


class QWenConfig(PretrainedConfig):
    model_type = "qwen"
