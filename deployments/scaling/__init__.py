"""How many replicas run, in production: signals, the governor that decides, and what asks it."""
