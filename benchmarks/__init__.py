"""What vlmfleet costs on top of a bare engine, measured: `make bench`. Nothing of the cluster imports this."""
