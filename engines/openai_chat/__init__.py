"""What our engine servers share: a chat completion asked and answered as vLLM has it, so a gateway knows one dialect.

Imports no engine. Pure, but for the clock in an answer's `created`.

| module | |
|---|---|
| `asked` | the request, as data |
| `schema` | bounds of a JSON schema |
| `trial` | whether an answer can keep to a schema at all; needs xgrammar, which all our engines have |
| `refusal` | why a request is refused |
| `answered` | the answer: usage, chunks, errors |
| `caller` | what is done for a caller ends when he leaves |
| `stop` | texts that end an answer |
| `picture` | how pictures are read |
"""
