"""Rerankers: models that read a question together with a text. The port is `retrieval.reranking`."""
