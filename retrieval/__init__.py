"""Retrieval: questions to passages, and passages to answers whose every sentence the service checked."""
