"""A form with a file in it, `multipart/form-data`, read as it comes: the file is never whole in memory."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from deployments.gateway.errors import BadRequest

if TYPE_CHECKING:  # it is there for type checkers only
    from python_multipart.multipart import MultipartCallbacks

FILE = "file"
FIELDS_MAX = 16
FIELD_BYTES_MAX = 4096
FIELD_CHARACTERS_SHOWN = 120
FILENAME_CHARACTERS_MAX = 255
# `filename*=UTF-8''%E8%AB%8B.jsonl` (RFC 8187).
EXTENDED_FILENAME = re.compile(rb"""filename\*\s*=\s*"?utf-8'[^';]*'([^;"]*)""", re.IGNORECASE)


class FormReader:
    """Takes the body piece by piece. `fields` has what is small, as text; the bytes of the part `file` are handed on."""

    def __init__(self, content_type: str | None) -> None:
        """Raises `BadRequest` for a body that is no form."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise BadRequest("Send a form: 'multipart/form-data' with the fields 'purpose' and 'file'.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.ended = False
        self._header, self._headers = (b"", b""), dict[bytes, bytes]()
        self._name = ""
        self._field = b""
        self._of_file: list[bytes] = []
        self._parser = _parser(
            options[b"boundary"],
            {
                "on_part_begin": self._part_began,
                "on_header_field": lambda data, start, end: self._header_grew(data[start:end], b""),
                "on_header_value": lambda data, start, end: self._header_grew(b"", data[start:end]),
                "on_header_end": self._header_ended,
                "on_headers_finished": self._headers_ended,
                "on_part_data": lambda data, start, end: self._part_grew(data[start:end]),
                "on_part_end": self._part_ended,
                "on_end": self._form_ended,
            },
        )

    def feed(self, data: bytes) -> bytes:
        """Read on. Returns what of the file was in `data`. Raises `BadRequest`."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest("The form is malformed. Send 'multipart/form-data', as HTTP clients make it.") from error
        of_file, self._of_file = b"".join(self._of_file), []
        return of_file

    def _part_began(self) -> None:
        self._header, self._headers, self._field = (b"", b""), {}, b""

    def _header_grew(self, name: bytes, value: bytes) -> None:
        self._header = self._header[0] + name, self._header[1] + value

    def _header_ended(self) -> None:
        name, value = self._header
        self._headers[name.lower()] = value
        self._header = (b"", b"")

    def _headers_ended(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        self._name = options.get(b"name", b"").decode(errors="replace")
        if self._name in self.fields or (self._name == FILE and self.filename is not None):
            raise BadRequest("A field is in the form twice. Send each once.", param=self._name[:FIELD_CHARACTERS_SHOWN])
        if self._name == FILE:
            extended = EXTENDED_FILENAME.search(disposition)
            name = unquote_to_bytes(extended[1].strip()) if extended else options.get(b"filename", b"")
            self.filename = name.decode(errors="replace")[:FILENAME_CHARACTERS_MAX]
        elif len(self.fields) == FIELDS_MAX:
            raise BadRequest(f"The form has more than {FIELDS_MAX} fields. Send 'purpose' and 'file'.")

    def _part_grew(self, data: bytes) -> None:
        if self._name == FILE:
            self._of_file.append(data)
            return
        self._field += data
        if len(self._field) > FIELD_BYTES_MAX:
            raise BadRequest(
                f"A field of the form is above {FIELD_BYTES_MAX} bytes; only 'file' may be.",
                param=self._name[:FIELD_CHARACTERS_SHOWN],
            )

    def _part_ended(self) -> None:
        if self._name != FILE:
            self.fields[self._name] = self._field.decode(errors="replace")

    def _form_ended(self) -> None:
        self.ended = True


def _parser(boundary: bytes, callbacks: "MultipartCallbacks") -> MultipartParser:
    try:
        return MultipartParser(boundary, callbacks)
    except FormParserError as error:
        raise BadRequest("The form's boundary is too long.") from error
