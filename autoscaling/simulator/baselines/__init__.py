"""The standard ways to scale, to be beaten."""
