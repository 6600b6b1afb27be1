"""Keys, links and sessions: what is kept of them, and when they stop working."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from ibid import keys
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import ApiKey, WebToken
from ibid.keys import Holder, NewKey
from ibid.settings import Settings

GIVEN = "given-by-the-environment"


def start(db: Database, given: str | None = None) -> str | None:
    settings = Settings(admin_key=SecretStr(given) if given else None)
    with db.begin() as session:
        return keys.ensure_admin(session, settings)


def holder(db: Database, text: str) -> Holder:
    with db.read() as session:
        return keys.holder(session, text)


def create(db: Database, maker: Holder, wanted: NewKey) -> str:
    with db.begin() as session:
        return keys.create(session, maker, wanted)[1]


@pytest.fixture
def text(db: Database) -> str:
    made = start(db)
    assert made is not None
    return made


@pytest.fixture
def maker(db: Database, text: str) -> Holder:
    return holder(db, text)


class TestFirstStart:
    def test_makes_an_admin_key_once(self, db: Database) -> None:
        made = start(db)
        assert made is not None
        assert start(db) is None
        assert holder(db, made).role == "admin"

    def test_keeps_only_a_hash(self, db: Database, text: str) -> None:
        with db.read() as session:
            row = session.scalars(select(ApiKey)).one()
        assert text not in str(vars(row))
        assert len(row.secret_hash) == 64
        assert len(text.split("_", 2)[2]) >= 22  # 128 bits in base64

    def test_makes_another_when_all_are_revoked_or_expired(self, db: Database, text: str) -> None:
        with db.begin() as session:
            session.execute(update(ApiKey).values(expires_at=now()))
        assert start(db) is not None


class TestEnvironment:
    def test_is_used_instead(self, db: Database) -> None:
        assert start(db, GIVEN) is None
        assert holder(db, GIVEN).role == "admin"

    def test_changed_replaces_the_one_before_and_its_sessions(self, db: Database) -> None:
        start(db, GIVEN)
        with db.begin() as session:
            secret = keys.new_session(session, keys.holder(session, GIVEN))
        start(db, GIVEN + "-changed")
        with pytest.raises(keys.KeyUnknown):
            holder(db, GIVEN)
        assert holder(db, GIVEN + "-changed").role == "admin"
        with pytest.raises(keys.SessionOver), db.read() as session:
            keys.visitor(session, secret)

    def test_removed_ends_it_and_makes_one(self, db: Database) -> None:
        start(db, GIVEN)
        made = start(db)
        assert made is not None
        with pytest.raises(keys.KeyRevoked):
            holder(db, GIVEN)
        assert start(db, GIVEN) is None
        assert holder(db, GIVEN).id == keys.ENVIRONMENT

    def test_too_short_is_refused(self, db: Database) -> None:
        with pytest.raises(keys.AdminKeyTooShort):
            start(db, "short")

    def test_may_look_like_a_generated_one(self, db: Database, text: str) -> None:
        start(db, text)
        assert holder(db, text).id == keys.ENVIRONMENT


class TestHolder:
    def test_is_unknown_for_any_other_text(self, db: Database, text: str) -> None:
        start(db, GIVEN)
        others = [
            "",
            "ibid",
            "ibid__",
            "ibid_" + "0" * 32 + "_x",
            text[:-1],
            text + "x",
            "\ud800",
            GIVEN.upper(),
        ]
        for other in others:
            with pytest.raises(keys.KeyUnknown):
                holder(db, other)

    def test_expired(self, db: Database, maker: Holder) -> None:
        made = create(db, maker, NewKey("k", "reader", expires_at=now() + timedelta(hours=1)))
        assert holder(db, made).role == "reader"
        with db.begin() as session:
            session.execute(update(ApiKey).where(ApiKey.name == "k").values(expires_at=now()))
        with pytest.raises(keys.KeyExpired):
            holder(db, made)

    def test_revoked(self, db: Database, maker: Holder) -> None:
        made = create(db, maker, NewKey("k", "reader"))
        with db.begin() as session:
            keys.revoke(session, maker, keys.holder(session, made).id)
        with pytest.raises(keys.KeyRevoked):
            holder(db, made)


class TestCreate:
    @pytest.mark.parametrize(
        "wanted",
        [
            pytest.param(NewKey("k", "admin"), id="all collections"),
            pytest.param(NewKey("k", "reader", ["col_b"]), id="another collection"),
            pytest.param(NewKey("k", "reader", ["col_a"], may_act_for=True), id="acting for others"),
        ],
    )
    def test_more_than_the_maker_has_is_refused(self, db: Database, maker: Holder, wanted: NewKey) -> None:
        limited = holder(db, create(db, maker, NewKey("limited", "admin", ["col_a"])))
        with pytest.raises(keys.KeyTooMighty):
            create(db, limited, wanted)

    def test_longer_than_the_maker_lives_is_refused(self, db: Database, maker: Holder) -> None:
        brief = holder(db, create(db, maker, NewKey("b", "admin", expires_at=now() + timedelta(hours=1))))
        for expires in (None, now() + timedelta(hours=2)):
            with pytest.raises(keys.KeyTooMighty):
                create(db, brief, NewKey("k", "reader", expires_at=expires))

    @pytest.mark.parametrize("wanted", [NewKey(" ", "reader"), NewKey("k", "reader", expires_at=now())])
    def test_nonsense_is_refused(self, db: Database, maker: Holder, wanted: NewKey) -> None:
        with pytest.raises(keys.BadKey):
            create(db, maker, wanted)


class TestRevoke:
    def test_last_admin_key_stays(self, db: Database, maker: Holder) -> None:
        with pytest.raises(keys.LastAdmin), db.begin() as session:
            keys.revoke(session, maker, maker.id)

    def test_command_key_is_no_other_admin(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            keys.replace_command_key(session, "commands")
        with pytest.raises(keys.LastAdmin), db.begin() as session:
            keys.revoke(session, maker, maker.id)

    def test_ends_sessions(self, db: Database, maker: Holder) -> None:
        made = create(db, maker, NewKey("k", "reader"))
        with db.begin() as session:
            found = keys.holder(session, made)
            secret = keys.new_session(session, found)
            keys.revoke(session, maker, found.id)
        with pytest.raises(keys.SessionOver), db.read() as session:
            keys.visitor(session, secret)


class TestCommandKey:
    def test_each_start_replaces_it(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            first = keys.replace_command_key(session, "commands")
        with db.begin() as session:
            second = keys.replace_command_key(session, "commands")
        assert holder(db, second).role == "admin"
        with pytest.raises(keys.KeyUnknown):
            holder(db, first)


class TestLink:
    def test_is_good_once(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            token = keys.new_link(session)
        with db.begin() as session:
            secret, found = keys.exchange(session, token)
            assert keys.visitor(session, secret) == found
        with pytest.raises(keys.LinkUsed), db.begin() as session:
            keys.exchange(session, token)

    def test_expires(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            token = keys.new_link(session)
            session.execute(update(WebToken).values(expires_at=now()))
        with pytest.raises(keys.LinkUsed), db.begin() as session:
            keys.exchange(session, token)

    def test_is_no_session(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            token = keys.new_link(session)
            with pytest.raises(keys.SessionOver):
                keys.visitor(session, token)

    def test_is_forgotten_when_over(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            keys.new_link(session)
            keys.expire(session, now() + keys.LINK_LIFE + timedelta(seconds=1))
            assert session.scalars(select(WebToken)).all() == []


class TestSession:
    def test_expires(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            secret = keys.new_session(session, maker)
            session.execute(update(WebToken).values(expires_at=now()))
            with pytest.raises(keys.SessionOver):
                keys.visitor(session, secret)

    def test_dies_with_its_key(self, db: Database, maker: Holder) -> None:
        with db.begin() as session:
            secret = keys.new_session(session, maker)
            session.execute(update(ApiKey).values(expires_at=now()))
            with pytest.raises(keys.KeyExpired):
                keys.visitor(session, secret)
