"""Principals: the names by which access lists speak of users, groups and keys."""

from collections.abc import Iterable

from ibid.errors import Invalid

KINDS = ("user:", "group:", "key:")
LONGEST = 256


class BadPrincipal(Invalid):
    """An access list names something that is not a user, group or key."""

    code = "bad_principal"


def checked(names: Iterable[str]) -> list[str]:
    """The names without repetition, or `BadPrincipal`."""
    unique = sorted(set(names))
    for name in unique:
        kind = next((kind for kind in KINDS if name.startswith(kind)), None)
        if kind is None or len(name) == len(kind) or len(name) > LONGEST or not name.isprintable():
            raise BadPrincipal(
                f"{name!r} is no principal: write user:NAME, group:NAME or key:ID, at most {LONGEST} characters.",
                param="access",
            )
    return unique
