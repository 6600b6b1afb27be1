"""Every error Ibid raises on purpose, as categories that know neither HTTP nor Celery.

::

    IbidError
    ├── Invalid        the request or the document is wrong; asking again changes nothing
    ├── Unauthorized   nobody, or somebody unknown, is asking
    ├── Forbidden      the asker is known, may see the thing, and may not do this to it
    ├── NotFound       there is no such thing, or the asker may not know that there is
    ├── Gone           there was such a thing, and it was deleted
    ├── Conflict       the thing is in a state that does not allow this
    ├── TooLarge       a limit on size was passed
    ├── Limited        too much at once; later it will work
    └── Unavailable    a service Ibid needs did not answer; later it will work

Leaf classes live beside the code that raises them. The API maps a category to a problem document,
the worker maps the same category to a retry or a failure.
"""

from typing import ClassVar


class IbidError(Exception):
    """A failure with a stable `code` for programs and a sentence for a person.

    The sentence says what happened, what it means, and what to do.
    """

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Invalid(IbidError):
    """The request or the document is wrong; asking again changes nothing."""

    code = "invalid"


class Unauthorized(IbidError):
    """Nobody, or somebody unknown, is asking."""

    code = "unauthorized"


class Forbidden(IbidError):
    """The asker may see the thing and may not do this to it."""

    code = "forbidden"


class NotFound(IbidError):
    """There is no such thing, or the asker may not know that there is."""

    code = "not_found"


class Gone(IbidError):
    """There was such a thing, and it was deleted."""

    code = "gone"


class Conflict(IbidError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class TooLarge(IbidError):
    """A limit on size was passed."""

    code = "too_large"


class Limited(IbidError):
    """Too much at once; later it will work. `retry_after` is in seconds."""

    code = "limited"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(IbidError):
    """A service Ibid needs did not answer; later it will work."""

    code = "unavailable"
    retryable = True
