"""`vlmfleet`: start and stop a fleet, and run it: keys, budgets, credit, usage, cost, the ledger."""
