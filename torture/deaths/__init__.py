"""Who dies in a whole fleet on Ray, and what becomes of it: `vlmfleet torture`."""
