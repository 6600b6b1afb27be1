"""Ingestion: bytes to canonical text, to chunks, to vectors, to the index. Plain functions; no HTTP, no Celery."""
