"""Texts that end an answer, found while it is written. Pure."""


class StopText:
    """Reads an answer piece by piece, and hands on what certainly belongs to it: a text that ends it is not in it.

    Of several such texts the one that is complete first counts. A piece that may be the beginning of one waits.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._waiting = ""
        self.found = False

    def read(self, piece: str) -> str:
        """What can be handed on now. Afterwards `found` says whether the answer ends with it."""
        text = self._waiting + piece
        ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._stops if stop in text]
        if ends:
            self.found = True
            return text[: min(ends)[1]]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._waiting = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What waits, when nothing more will come."""
        return self._waiting


def _overlap(text: str, stop: str) -> int:
    """How much of the end of `text` is a beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
