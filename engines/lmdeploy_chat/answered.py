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


def param_of(error: RequestError) -> str | None:
    """The field at fault: what is read of a request only here are its messages."""
    faults = (ErrorCode.CONTEXT_LENGTH_EXCEEDED, ErrorCode.PREPROCESS_FAILED, ErrorCode.INVALID_REQUEST)
    return "messages" if error.code in faults else "model" if error.code == ErrorCode.MODEL_NOT_FOUND else None
