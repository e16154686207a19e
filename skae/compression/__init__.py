"""Compression of samples to bytes: integer codes by exact probabilities, and the stream format."""
