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
    with op.batch_alter_table("parses", schema=None) as batch_op:
        batch_op.add_column(sa.Column("attachments", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("parses", schema=None) as batch_op:
        batch_op.alter_column("attachments", server_default=None)


def downgrade() -> None:
    """Go back. Documents with one identity of two kinds, and those inside others, had no place before."""
    with op.batch_alter_table("parses", schema=None) as batch_op:
        batch_op.drop_column("attachments")
    with op.batch_alter_table("documents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_documents_parent_id"))
        batch_op.drop_column("parent_id")
    op.execute(
        "UPDATE documents SET identity = COALESCE(external_id, name) WHERE deleted_at IS NULL "
        "AND identity NOT LIKE 'child:%'"
    )
