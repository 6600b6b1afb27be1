"""identities say of which kind they are; documents inside documents"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. What is deleted keeps its identity, which nothing is compared with."""
    op.execute(
        "UPDATE documents SET identity = CASE WHEN external_id IS NULL THEN 'name:' || identity "
        "ELSE 'external:' || identity END WHERE deleted_at IS NULL"
    )
    with op.batch_alter_table("documents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("parent_id", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_documents_parent_id"), ["parent_id"], unique=False)
    op.create_table(
        "attachments",
        sa.Column("parse_key", sa.String(length=64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("blob_id", sa.String(length=64), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_attachments_blob_id_blobs")),
        sa.ForeignKeyConstraint(
            ["parse_key"], ["parses.key"], name=op.f("fk_attachments_parse_key_parses"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("parse_key", "ordinal", name=op.f("pk_attachments")),
    )
    with op.batch_alter_table("attachments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attachments_blob_id"), ["blob_id"], unique=False)


def downgrade() -> None:
    """Go back. Documents with one identity of two kinds, and those inside others, had no place before."""
    op.drop_table("attachments")
    with op.batch_alter_table("documents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_documents_parent_id"))
        batch_op.drop_column("parent_id")
    op.execute(
        "UPDATE documents SET identity = COALESCE(external_id, name) WHERE deleted_at IS NULL "
        "AND identity NOT LIKE 'child:%'"
    )
