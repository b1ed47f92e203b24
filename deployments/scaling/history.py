"""What is kept on disk: how much work arrived in each minute of the last days, so that the season outlives the process."""

import json
from pathlib import Path

from autoscaling.season import DAY_S, Season
from deployments.private import opener, private_folder

KEPT_S = 8 * DAY_S
MINUTE_S = 60.0


class History:
    """A file of JSON lines. It is read once; a line that is broken, as the last one of a crash is, is passed over."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def seasons(self, now_s: float) -> dict[str, Season]:
        """By model. Forgets what is too old."""
        minutes = [minute for minute in self._read() if minute[0] > now_s - KEPT_S]
        private_folder(self._file.parent)
        fresh = self._file.with_suffix(".new")
        with open(fresh, "w", opener=opener) as file:
            file.write("".join(_line(*minute) for minute in minutes))
        fresh.replace(self._file)
        seasons: dict[str, Season] = {}
        for at_s, model, rate in minutes:
            seasons[model] = seasons.get(model, Season.none()).arrive(at_s, rate * MINUTE_S, MINUTE_S)
        return seasons

    def write(self, at_s: float, rates: dict[str, float]) -> None:
        """The work rate of each model in the minute until `at_s`, in replica-seconds a second."""
        with self._file.open("a") as file:
            file.write("".join(_line(at_s, model, rate) for model, rate in rates.items()))

    def _read(self) -> list[tuple[float, str, float]]:
        try:
            lines = self._file.read_text().splitlines()
        except FileNotFoundError:
            return []
        minutes = []
        for line in lines:
            try:
                at_s, model, rate = json.loads(line)
                minutes.append((float(at_s), str(model), float(rate)))
            except (ValueError, TypeError):
                continue
        return minutes


def _line(at_s: float, model: str, rate: float) -> str:
    return json.dumps([round(at_s), model, round(rate, 6)]) + "\n"
