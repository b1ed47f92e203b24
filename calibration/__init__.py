"""How many images a second a model serves within its SLO on some hardware, and the price that follows. See `docs/calibration.md`.

The search and the price are pure; `load`, `engine` and `device` are where they meet the world.
"""
