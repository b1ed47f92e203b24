"""Batches: files of requests that are answered within a day, below everything else, at half the price."""
