"""The ingress: one OpenAI-compatible endpoint in front of every model. `life.py` is the life of a request."""
