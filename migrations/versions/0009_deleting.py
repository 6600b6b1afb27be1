"""files that stay deleted inside their documents, and indexes by which a deletion finds what it is about"""

import json
import re

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAMES = re.compile(r'"((?:doc|up)_[0-9a-f]{1,60})"')


def upgrade() -> None:
    """Go forward. What was deleted before inside a document is not known, and comes back with its next version."""
    op.create_table(
        "kept_out",
        sa.Column("root_id", sa.String(length=64), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("root_id", "mark", "document_id", name=op.f("pk_kept_out")),
    )
    with op.batch_alter_table("kept_out", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_kept_out_document_id"), ["document_id"], unique=False)
    op.create_table(
        "saved_reply_names",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("named", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id", "idempotency_key"],
            ["saved_replies.key_id", "saved_replies.idempotency_key"],
            name=op.f("fk_saved_reply_names_key_id_idempotency_key_saved_replies"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_id", "idempotency_key", "named", name=op.f("pk_saved_reply_names")),
    )
    with op.batch_alter_table("saved_reply_names", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_saved_reply_names_named"), ["named"], unique=False)
    with op.batch_alter_table("partial_uploads", schema=None) as batch_op:
        batch_op.add_column(sa.Column("document_id", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_partial_uploads_document_id"), ["document_id"], unique=False)
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_resource"), ["resource"], unique=False)
    _name_documents()


def _name_documents() -> None:
    connection = op.get_bind()
    replies = connection.exec_driver_sql("SELECT key_id, idempotency_key, body FROM saved_replies").all()
    named = [
        {"key": key, "once": once, "named": name}
        for key, once, body in replies
        for name in sorted(set(NAMES.findall(body if isinstance(body, str) else json.dumps(body))))
    ]
    into = "INSERT INTO saved_reply_names (key_id, idempotency_key, named) VALUES (:key, :once, :named)"
    ended = connection.exec_driver_sql(
        "SELECT id, outcome FROM partial_uploads WHERE outcome IS NOT NULL"
    ).all()
    became = [
        {"id": id_, "document": outcome["id"]}
        for id_, told in ended
        if isinstance(outcome := json.loads(told) if isinstance(told, str) else told, dict)
    ]
    if named:
        connection.execute(sa.text(into), named)
    if became:
        changed = sa.text("UPDATE partial_uploads SET document_id = :document WHERE id = :id")
        connection.execute(changed, became)


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_resource"))
    with op.batch_alter_table("partial_uploads", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_partial_uploads_document_id"))
        batch_op.drop_column("document_id")
    op.drop_table("saved_reply_names")
    op.drop_table("kept_out")
