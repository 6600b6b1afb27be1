"""Keys, one-time links and browser sessions: who may come in. Only SHA-256 of their secrets are kept.

A secret has 256 random bits, so one round of SHA-256 is enough; comparison takes the same time whatever is wrong.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from sqlalchemy import Select, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ibid.clock import new_id, now
from ibid.db.tables import ApiKey, WebToken
from ibid.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized
from ibid.settings import Settings
from ibid.types import Role

MARK = "ibid"
SECRET_BYTES = 32
ENVIRONMENT = "key_environment"
COMMANDS = "key_commands"
SHORTEST_ADMIN_KEY = 16
LINK_LIFE = timedelta(minutes=15)
SESSION_LIFE = timedelta(hours=12)
RANKS: dict[Role, int] = {"reader": 0, "editor": 1, "admin": 2}


class KeyUnknown(Unauthorized):
    """The key is not one of this service."""

    code = "key_unknown"


class KeyExpired(Unauthorized):
    """The key was good until a moment that has passed."""

    code = "key_expired"


class KeyRevoked(Unauthorized):
    """The key was taken back."""

    code = "key_revoked"


class LinkUsed(Unauthorized):
    """The one-time link was used before, or is too old."""

    code = "link_used"


class SessionOver(Unauthorized):
    """The browser's session has ended."""

    code = "session_over"


class KeyNotFound(NotFound):
    """No key of this id is visible to the asker."""

    code = "key_not_found"


class KeyTooMighty(Forbidden):
    """A key cannot be given more than its maker has."""

    code = "key_exceeds_maker"


class BadKey(Invalid):
    """What the new key should be makes no sense."""

    code = "bad_key"


class AdminKeyTooShort(Invalid):
    """`IBID_ADMIN_KEY` could be guessed."""

    code = "admin_key_too_short"


class LastAdmin(Conflict):
    """Without this key nobody could manage keys."""

    code = "last_admin_key"


@dataclass(frozen=True, slots=True)
class Holder:
    """The key behind a request; `collections` None is every collection."""

    id: str
    name: str
    role: Role
    collections: frozenset[str] | None
    may_act_for: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key should be. `collections` are ids; None is every collection."""

    name: str
    role: Role
    collections: Sequence[str] | None = None
    expires_at: datetime | None = None
    may_act_for: bool = False


def digest(secret: str) -> str:
    """SHA-256 of a secret, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def holder(session: Session, text: str) -> Holder:
    """Who holds a key's text; raises `KeyUnknown`, or `KeyRevoked` or `KeyExpired` if it was good once."""
    offered = digest(text)
    for key_id in (ENVIRONMENT, _id_in(text)):
        row = session.get(ApiKey, key_id)
        if compare_digest(row.secret_hash if row else "", offered) and row is not None:
            return _usable(row)
    raise KeyUnknown("This key is not known here. Check that it was copied whole: it is shown only once.")


def visitor(session: Session, cookie: str) -> Holder:
    """Who holds a browser session's secret; raises `SessionOver`, also when its key was revoked or expired."""
    token = session.get(WebToken, digest(cookie))
    if token is None or token.kind != "session" or token.expires_at <= now():
        raise SessionOver(
            "You are signed out: the session has ended. Open a fresh link, or sign in with a key."
        )
    return _usable(session.get_one(ApiKey, token.key_id))


def recheck(session: Session, key_id: str) -> None:
    """Raise `KeyRevoked` or `KeyExpired` once a key is no longer good: for requests that last."""
    _usable(session.get_one(ApiKey, key_id))


def new_link(session: Session, key_id: str | None = None) -> str:
    """A one-time token, good for 15 minutes, that a browser exchanges for a session of this key (None: the admin's)."""
    return _new_token(session, "link", key_id or admin_id(session), LINK_LIFE)


def exchange(session: Session, token: str) -> tuple[str, Holder]:
    """Use up a link's token; gives the secret of a session and its holder, or raises `LinkUsed`."""
    used = (
        sql_delete(WebToken)
        .where(WebToken.secret_hash == digest(token), WebToken.kind == "link", WebToken.expires_at > now())
        .returning(WebToken.key_id)
    )
    key_id = session.scalar(used)
    if key_id is None:
        raise LinkUsed(
            "This link was used before or is older than 15 minutes. Every start prints a fresh one."
        )
    found = _usable(session.get_one(ApiKey, key_id))
    return new_session(session, found), found


def new_session(session: Session, found: Holder) -> str:
    """The secret of a browser session that lasts 12 hours, and never longer than its key."""
    return _new_token(session, "session", found.id, SESSION_LIFE)


def end_session(session: Session, cookie: str) -> None:
    """Forget a session; nothing happens if there is none."""
    session.execute(
        sql_delete(WebToken).where(WebToken.secret_hash == digest(cookie), WebToken.kind == "session")
    )


def create(session: Session, maker: Holder, wanted: NewKey) -> tuple[ApiKey, str]:
    """A new key and its text, which is not kept. Raises `KeyTooMighty` if the maker has less."""
    _check(maker, wanted)
    return _insert(session, wanted)


def replace_command_key(session: Session, name: str) -> str:
    """The text of a new admin key for commands on this machine; the one made before stops working."""
    text = f"{MARK}_{COMMANDS.removeprefix('key_')}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row = session.get(ApiKey, COMMANDS)
    if row is None:
        session.add(_row(COMMANDS, digest(text), NewKey(name, "admin")))
    else:
        row.secret_hash, row.revoked_at = digest(text), None
    session.flush()
    return text


def listing(session: Session, asker: Holder, *, after: str | None, limit: int) -> list[ApiKey]:
    """All keys, revoked ones too, oldest first, as far as the asker's collections reach."""
    query = select(ApiKey).order_by(ApiKey.id)
    if after:
        query = query.where(ApiKey.id > after)
    found: list[ApiKey] = []
    for row in session.scalars(query):
        if len(found) == limit:
            break
        if within(row.collections, asker.collections):
            found.append(row)
    return found


def get(session: Session, asker: Holder, key_id: str) -> ApiKey:
    """The key, if it exists and reaches no further than the asker's."""
    row = session.get(ApiKey, key_id)
    if row is None or not within(row.collections, asker.collections):
        raise KeyNotFound(f"There is no key {key_id!r}. GET /v1/api-keys lists those there are.")
    return row


def revoke(session: Session, asker: Holder, key_id: str) -> ApiKey:
    """Take a key back with all sessions that came from it; raises `LastAdmin` for the last key that manages keys."""
    row = get(session, asker, key_id)
    if row.id == ENVIRONMENT:
        raise LastAdmin("This key comes from IBID_ADMIN_KEY. Change or remove the setting and start again.")
    others = _admins().where(ApiKey.id != row.id)
    if row.role == "admin" and row.collections is None and session.scalar(others.limit(1)) is None:
        raise LastAdmin("This is the last admin key. Make another one first.")
    row.revoked_at = row.revoked_at or now()
    session.execute(sql_delete(WebToken).where(WebToken.key_id == row.id))
    return row


def ensure_admin(session: Session, settings: Settings) -> str | None:
    """Make sure that there is an admin key; gives the text of one generated now, to be printed this once.

    A key given by `IBID_ADMIN_KEY` replaces the one given before, whose sessions end.
    """
    given = settings.admin_key.get_secret_value() if settings.admin_key else None
    _replace_environment(session, given)
    if session.scalar(_admins().limit(1)) is not None:
        return None
    return _insert(session, NewKey("admin", "admin"))[1]


def admin_id(session: Session) -> str:
    """The id of the oldest usable admin key that reaches every collection."""
    found = session.scalar(_admins().limit(1))
    if found is None:
        raise KeyNotFound("There is no usable admin key. Start the server once: it makes one.")
    return found


def expire(session: Session, moment: datetime) -> None:
    """Remove links and sessions that are over."""
    session.execute(sql_delete(WebToken).where(WebToken.expires_at < moment))


def _id_in(text: str) -> str:
    """The id that a key's text names; empty if it is no key's text."""
    parts = text.split("_", 2)
    return f"key_{parts[1]}" if len(parts) == 3 and parts[0] == MARK and parts[1].isalnum() else ""


def _usable(row: ApiKey) -> Holder:
    if row.revoked_at is not None:
        raise KeyRevoked("This key was revoked. Ask an administrator for another one.")
    if row.expires_at is not None and row.expires_at <= now():
        raise KeyExpired("This key has expired. Ask an administrator for another one.")
    reach = None if row.collections is None else frozenset(row.collections)
    return Holder(row.id, row.name, _role(row.role), reach, row.may_act_for, row.expires_at)


def _role(name: str) -> Role:
    return next(role for role in RANKS if role == name)


def _check(maker: Holder, wanted: NewKey) -> None:
    if not wanted.name.strip() or not wanted.name.isprintable():
        raise BadKey("A key's name is 1 to 200 printable characters.", param="name")
    if wanted.expires_at is not None and wanted.expires_at <= now():
        raise BadKey(
            "expires_at has passed already. Give a moment to come, or leave it out.", param="expires_at"
        )
    lasts_longer = maker.expires_at is not None and (
        wanted.expires_at is None or wanted.expires_at > maker.expires_at
    )
    mightier = RANKS[wanted.role] > RANKS[maker.role] or (wanted.may_act_for and not may_pass_on(maker))
    if mightier or lasts_longer or not within(wanted.collections, maker.collections):
        raise KeyTooMighty(
            "A key cannot have a higher role, more collections, more rights or a longer life than yours."
        )


def may_pass_on(maker: Holder) -> bool:
    """Whether a maker may give out `may_act_for`: who sees every document anyway, or may act for others already."""
    return maker.may_act_for or (maker.role == "admin" and maker.collections is None)


def within(inner: Sequence[str] | None, outer: frozenset[str] | None) -> bool:
    """Whether these collections are all among those; None is every collection."""
    return outer is None or (inner is not None and outer.issuperset(inner))


def _admins() -> Select[str]:
    alive = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
    everything = ApiKey.collections.is_(None)
    lasting = ApiKey.id != COMMANDS  # which ends with its server
    return (
        select(ApiKey.id)
        .where(ApiKey.role == "admin", ApiKey.revoked_at.is_(None), alive, everything, lasting)
        .order_by(ApiKey.created_at, ApiKey.id)
    )


def _insert(session: Session, wanted: NewKey) -> tuple[ApiKey, str]:
    key_id = new_id("key")
    text = f"{MARK}_{key_id.removeprefix('key_')}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row = _row(key_id, digest(text), wanted)
    session.add(row)
    session.flush()
    return row, text


def _row(key_id: str, secret_hash: str, wanted: NewKey) -> ApiKey:
    return ApiKey(
        id=key_id,
        name=wanted.name.strip(),
        secret_hash=secret_hash,
        role=wanted.role,
        collections=None if wanted.collections is None else list(wanted.collections),
        may_act_for=wanted.may_act_for,
        created_at=now(),
        expires_at=wanted.expires_at,
    )


def _replace_environment(session: Session, given: str | None) -> None:
    """Keep the row of the environment's key in step with the setting."""
    if given is not None and len(given) < SHORTEST_ADMIN_KEY:
        raise AdminKeyTooShort(
            f"IBID_ADMIN_KEY has fewer than {SHORTEST_ADMIN_KEY} characters. Choose a longer one."
        )
    row = session.get(ApiKey, ENVIRONMENT)
    if row is None:
        if given is not None:
            _insert_environment(session, given)
        return
    if given is not None and compare_digest(row.secret_hash, digest(given)) and row.revoked_at is None:
        return
    session.execute(sql_delete(WebToken).where(WebToken.key_id == ENVIRONMENT))
    row.revoked_at = now() if given is None else None
    if given is not None:
        row.secret_hash = digest(given)


def _insert_environment(session: Session, given: str) -> None:
    try:
        with session.begin_nested():
            session.add(_row(ENVIRONMENT, digest(given), NewKey("IBID_ADMIN_KEY", "admin")))
    except IntegrityError:
        return  # another process starts with the same setting


def _new_token(session: Session, kind: str, key_id: str, life: timedelta) -> str:
    secret = secrets.token_urlsafe(SECRET_BYTES)
    moment = now()
    session.add(
        WebToken(
            secret_hash=digest(secret), kind=kind, key_id=key_id, created_at=moment, expires_at=moment + life
        )
    )
    session.flush()
    return secret
