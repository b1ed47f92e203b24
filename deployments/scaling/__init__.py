"""How many replicas run: what of it knows Ray."""
