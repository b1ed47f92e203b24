"""A small OpenAI-compatible server on Transformers: `python transformers_server.py MODEL --model-name ...`.

For models that no engine serves, or not in full. Runs in its own environment, never in ours.
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    """Load the model, then serve until told to stop."""
    import transformers
    import uvicorn
    from bearer import Bearer
    from transformers_chat.batch import Bounds
    from transformers_chat.batches import Batcher
    from transformers_chat.endpoint import Server
    from transformers_chat.load import load

    said = arguments()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = load(said.model, said.revision, said.dtype, said.trust_remote_code, said.processor)
    batcher = Batcher(model, Bounds(said.batch_sequences_max, said.batch_vision_tokens_max))
    server = Server(
        model,
        batcher,
        name=said.model_name,
        context_tokens=said.context_tokens,
        media_max={"image": said.images_max, "video": said.videos_max},
    )
    uvicorn.run(Bearer(server.app()), host=said.host, port=said.port, access_log=False, log_level="warning")


def arguments() -> argparse.Namespace:
    """`--processor` is settings of the model's own processor, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=_folder_or_id)
    parser.add_argument("--model-name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--batch-sequences-max", type=int, default=8)
    parser.add_argument("--batch-vision-tokens-max", type=int, default=8192)
    parser.add_argument("--images-max", type=int, default=1)
    parser.add_argument("--videos-max", type=int, default=0)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--revision")
    parser.add_argument("--processor", type=json.loads, default={})
    parser.add_argument("--trust-remote-code", action="store_true")
    return parser.parse_args()


def _folder_or_id(text: str) -> Path | str:
    folder = Path(text)
    return folder if folder.is_dir() else text


if __name__ == "__main__":
    main()
