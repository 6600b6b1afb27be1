"""Encoders of text: dense vectors through the `Embedder` port, BM25 sparse vectors through the engine's own model."""
