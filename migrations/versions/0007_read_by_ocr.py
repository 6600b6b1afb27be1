"""versions that are read by OCR, chunks in their language"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("read_by", sa.String(length=16), nullable=False, server_default="text"))
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.alter_column("read_by", server_default=None)
    op.add_column("chunks", sa.Column("language", sa.String(length=8), nullable=True))
    op.create_table(
        "generation_languages",
        sa.Column("generation_id", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name=op.f("fk_generation_languages_generation_id_generations"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("generation_id", "language", name=op.f("pk_generation_languages")),
    )
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
    op.drop_table("generation_languages")
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.drop_column("language")
    with op.batch_alter_table("versions", schema=None) as batch_op:
        batch_op.drop_column("read_by")
