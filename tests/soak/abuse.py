"""Every attack at once, each again and again: `python -m tests.soak.abuse URL SECONDS MODEL...`, the key in ABUSER_KEY.

Prints how often each was answered what, as JSON.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter

import httpx

from tests.soak.attacks import ATTACKS, Attack
from tests.soak.door import Door, opened

PAUSE_S = 0.2
# They come from other machines in truth; here they share the cores with what they attack.
NICE = 10

Tally = dict[str, Counter[str]]


async def abuse(url: str, key: str, models: tuple[str, ...], seconds: float) -> Tally:
    """Each attack by a client of its own, until the time is over."""
    tally: Tally = {name: Counter() for name in ATTACKS}
    async with opened(url, key, models) as door, asyncio.TaskGroup() as group:
        until_s = asyncio.get_running_loop().time() + seconds
        for name, attack in ATTACKS.items():
            group.create_task(_again(attack, door, random.Random(name), tally[name], until_s))
    return tally


async def _again(attack: Attack, door: Door, random_: random.Random, tally: Counter[str], until_s: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        try:
            tally[await attack(door, random_)] += 1
        except (httpx.HTTPError, OSError) as error:
            tally[type(error).__name__] += 1
        await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    os.nice(NICE)
    print(
        json.dumps(asyncio.run(abuse(sys.argv[1], os.environ["ABUSER_KEY"], tuple(sys.argv[3:]), float(sys.argv[2]))))
    )
