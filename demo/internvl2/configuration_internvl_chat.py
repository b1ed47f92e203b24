"""The configuration classes of InternVL2, without its defaults: config.json says everything."""

from transformers.configuration_utils import PretrainedConfig


class InternVisionConfig(PretrainedConfig):
    model_type = "intern_vit_6b"


class InternLM2Config(PretrainedConfig):
    model_type = "internlm2"

    def __init__(self, rope_theta=10000, rope_scaling=None, max_position_embeddings=32768, **others):
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**others)


class InternVLChatConfig(PretrainedConfig):
    model_type = "internvl_chat"
    is_composition = True

    def __init__(self, vision_config=None, llm_config=None, **others):
        self.vision_config = InternVisionConfig(**(vision_config or {}))
        self.llm_config = InternLM2Config(**(llm_config or {}))
        super().__init__(**others)

    def to_dict(self):
        return super().to_dict() | {
            "vision_config": self.vision_config.to_dict(),
            "llm_config": self.llm_config.to_dict(),
        }
