"""How many replicas each model runs. A pure core, one adapter that knows Ray, one simulator."""
