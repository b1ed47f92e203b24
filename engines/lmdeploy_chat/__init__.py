"""`POST /v1/chat/completions` on LMDeploy 0.18.0, saying what vLLM says: so a gateway has one kind of engine to know.

LMDeploy's own endpoint differs, to its callers' harm:

| LMDeploy | here, as in vLLM |
|---|---|
| the usage of a stream comes with its end, so one that is broken off cannot be charged | in every chunk |
| `completion_tokens` leaves out the token that ended the answer | counted: it was computed |
| `stop` ends at any token that contains the text, drops all of that token, and takes no text of several tokens | ends at the text, keeps what was before it |
| a whole answer goes on when its caller has left, until its next token, however long it waits for that | ends at once |
| a parameter that it does not know is ignored | refused by name |
| silence means temperature 0.8 and top_k 50 | silence means temperature 1 and no top_k |
| an image says how many tiles or pixels it takes (`detail`, `max_dynamic_patch`, `max_pixels`) | the model's card says so, in `LMDEPLOY_IMAGE` |
| system and assistant messages in parts are an error beside an image | their texts, joined by newlines |
| a picture lies as the camera was held, transparency shows what was behind it, a cut file is grey at its end | upright, on white, refused |
| errors are flat | in `error` |

| module | |
|---|---|
| `openai_chat` | what our servers share: the request and the answer, as data |
| `asked` | the request, as LMDeploy wants it |
| `answered` | LMDeploy's errors in vLLM's words |
| `picture` | how pictures are read |
| `run` | one request in the engine, from start to end |
| `endpoint` | HTTP |
"""


def install() -> None:
    """Take the place of LMDeploy's own endpoint in every server that this process makes from now on."""
    from lmdeploy.serve.openai import chat_completions

    from lmdeploy_chat.endpoint import register
    from lmdeploy_chat.picture import read_pictures_alike

    chat_completions.register = register
    read_pictures_alike()
