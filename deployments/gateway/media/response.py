"""A connection to a server that may be hostile, as aiohttp reads it on the event loop.

A server can make much work of few bytes: informational responses without an end, chunks of one byte. Each costs microseconds
while nothing else runs. So a response that is hardly anything but such is broken off.
"""

from functools import partial

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler

# Before the content: heads have some kilobytes, and one header may have 64.
HEAD_BYTES_MAX = 80 * 1024
# Beside it: servers send chunks of kilobytes.
MARKS_BYTES_MAX = 16 * 1024
# Read before it is looked at how much of it is content.
SLICE_BYTES = 16 * 1024


class Connector(TCPConnector):
    """A new connection for each request, to what `resolver` says."""

    def __init__(self, resolver: AbstractResolver) -> None:
        # No limit: there is a turn for each.
        super().__init__(resolver=resolver, use_dns_cache=False, force_close=True, limit=0)
        kind: type[ResponseHandler] = Response
        self._factory = partial(kind, loop=self._loop)


class Response(ResponseHandler):
    """Breaks off where the content does not begin, or is less than half of what comes."""

    _head_bytes = _marked_bytes = 0

    def data_received(self, data: bytes) -> None:
        for at in range(0, max(1, len(data)), SLICE_BYTES):
            piece = data[at : at + SLICE_BYTES]
            if self._payload:
                self._marked_bytes += len(piece)
            else:
                self._head_bytes += len(piece)
            super().data_received(piece)
            if self.transport is None:
                return
            if self._is_waste():
                self.transport.abort()
                return

    def _is_waste(self) -> bool:
        content_bytes = self._payload.total_bytes if self._payload else 0
        return self._head_bytes > HEAD_BYTES_MAX or self._marked_bytes > MARKS_BYTES_MAX + 2 * content_bytes
