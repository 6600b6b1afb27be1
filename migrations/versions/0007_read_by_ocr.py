"""versions that are read by OCR"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("read_by", sa.String(length=16), nullable=False, server_default="text"))
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.alter_column("read_by", server_default=None)
    op.create_table(
        "recognised_pages",
        sa.Column("version_id", sa.String(length=64), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("parse_key", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["versions.id"],
            name=op.f("fk_recognised_pages_version_id_versions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_id", "page", name=op.f("pk_recognised_pages")),
    )


def downgrade() -> None:
    """Go back. Versions that were read by OCR keep their text."""
    op.drop_table("recognised_pages")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.drop_column("read_by")
