"""The tiny VLMs that a newcomer runs: their images, their training, their weights."""
