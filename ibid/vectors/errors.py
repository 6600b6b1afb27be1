"""Errors of vector stores; vendor exceptions are translated into these in the adapter."""

from ibid.errors import Conflict, NotFound, Unavailable


class GenerationMissing(NotFound):
    """The store has no such generation: it was dropped, or the store was lost and must be rebuilt."""

    code = "generation_missing"


class Fenced(Conflict):
    """The attempt that wants to write is over; somebody else does its work now."""

    code = "fenced"


class StoreUnavailable(Unavailable):
    """The vector store did not answer."""

    code = "vector_store_unavailable"
