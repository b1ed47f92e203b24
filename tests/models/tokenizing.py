"""Chats -> token ids, as an engine's environment sees them: `python tokenizing.py FOLDER`, which has a tokenizer and its template.

Says first which tokens are special. Then every line is the messages of a chat, answered by the special ids of its prompt, in
order, and by how many tokens it has in all.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer


def main(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    special = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= {number: text for text, number in getattr(tokenizer, "special_tokens", {}).items()}
    said = [tokenizer.chat_template or "", *(file.read_text() for file in folder.glob("chat_template.*"))]
    takes_parts = any("content in" in template or "part in" in template for template in said)
    print(json.dumps(sorted(special.values())), flush=True)
    for line in sys.stdin:
        messages = json.loads(line)
        if not takes_parts:
            messages = [message | {"content": _in_one(message["content"])} for message in messages]
        if any(said):
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        else:
            ids = tokenizer("\n".join(str(message["content"]) for message in messages))["input_ids"]
        # An unknown character is no structure.
        marks = [number for number in ids if number in special and number != tokenizer.unk_token_id]
        print(json.dumps([marks, len(ids)]), flush=True)


def _in_one(content: Any) -> str:
    """As engines give parts to a template that takes a text: here as LMDeploy, with nothing between."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part["type"] == "text" else "<img><IMG_CONTEXT></img>\n" for part in content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
