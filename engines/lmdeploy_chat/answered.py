"""What an answer looks like where LMDeploy has words of its own."""

from lmdeploy.serve.core.exceptions import ErrorCode, RequestError


def message_of(error: RequestError, context_tokens: int) -> str:
    """In vLLM's words where a gateway acts upon them."""
    match error.code:
        case ErrorCode.CONTEXT_LENGTH_EXCEEDED:
            return f"The model's maximum context length is {context_tokens} tokens: prompt and answer exceed it."
        case ErrorCode.PREPROCESS_FAILED:
            return "Failed to load image, or a text holds the model's own marker of an image."
    return str(error.message)
