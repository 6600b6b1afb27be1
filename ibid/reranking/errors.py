"""What can be wrong with a reranker."""

from ibid.errors import Unavailable


class RerankerUnavailable(Unavailable):
    """The reranker that the settings name cannot be loaded."""

    code = "reranker_unavailable"
