"""`POST /v1/chat/completions` on Transformers, saying what vLLM says, with dynamic batching by vision tokens.

| module | |
|---|---|
| `load` | a checkpoint: model and reader |
| `model` | what serves a batch; any image-text-to-text model of Transformers |
| `asked` | the request, with what is said of a video |
| `messages` | the shape of its messages |
| `moondream` | the same for Moondream 2, which is its publisher's code |
| `reader` | messages -> prompts: media, template, processor |
| `media` | images and videos out of data URLs |
| `choice`, `grammar` | a sequence's next token, and what it must keep to |
| `sequence`, `text` | one answer while it is written |
| `batch` | which answers are written together |
| `batches` | the thread that computes them, and the queue in front of it |
| `endpoint` | HTTP |

Work for the accelerator is done on one thread, a batch after the other; reading media and templates on others.
"""
