"""A form with one file in it (multipart/form-data, RFC 7578), taken apart as it comes."""

import re
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dialerd.model.errors import Refused

__all__ = ["Multipart"]

#: Characters of a file's name that are kept.
LONGEST_NAME = 200


class Multipart:
    """Finds the one file of a body. `name` is the file's, once it has begun.

    Raises Refused for a body that is none, and for one that holds other fields, which would be lost.
    """

    def __init__(self, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Refused("the content type names no boundary")
        self.name: str | None = None
        self._found = bytearray()
        self._field, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._has_ended = False
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_field,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_end": self._on_end,
        }
        self._parser = self._read(lambda: MultipartParser(boundary, callbacks))

    def feed(self, some: bytes) -> bytes:
        """Take the next bytes of the body, and return those of them that are the file's."""
        self._read(lambda: self._parser.write(some))
        found = bytes(self._found)
        self._found.clear()
        return found

    def end(self) -> None:
        """Take notice that the body has ended."""
        if self.name is None:
            raise Refused("the form holds no file")
        if not self._has_ended:
            raise Refused("the form is not complete")

    def _read(self, step: Any) -> Any:
        try:
            return step()
        except FormParserError as error:
            raise Refused(f"the body is no multipart/form-data: {error}") from error

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        given = options.get(b"filename")
        if given is None:
            raise Refused("the form holds a field that is no file: campaign, name and the like go into the URL")
        if self.name is not None:
            raise Refused("the form holds several files: send one at a time")
        # Some browsers tell the whole path.
        self.name = re.split(r"[\\/]", given.decode("utf-8", "replace"))[-1].replace("\0", "").strip()[:LONGEST_NAME]

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self._found += data[start:end]

    def _on_end(self) -> None:
        self._has_ended = True
