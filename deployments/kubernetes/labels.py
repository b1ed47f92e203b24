"""The labels by which replicas, Ray nodes and machines find each other."""

POOL = "vlmfleet.dev/pool"
ENGINE = "vlmfleet.dev/engine"
# On machines; a card's own word. Ray's label of the same kind does not tell an A100 of 40 GB from one of 80.
ACCELERATOR = "vlmfleet.dev/accelerator"
# Ray's own; the values are `spot` and `on-demand`.
MARKET = "ray.io/market-type"
SPOT, ON_DEMAND = "spot", "on-demand"

GATEWAY_POOL = "gateway"
