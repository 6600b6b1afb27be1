"""what deletions forget, and the documents that answers were made from"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Of answers that were made before, the documents they cite are known, and no others."""
    op.create_table(
        "answer_sources",
        sa.Column("answer_id", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["answer_id"],
            ["answers.id"],
            name=op.f("fk_answer_sources_answer_id_answers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("answer_id", "document_id", name=op.f("pk_answer_sources")),
    )
    with op.batch_alter_table("answer_sources", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_answer_sources_document_id"), ["document_id"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("document_id", sa.String(length=64), nullable=False),
        sa.Column("traces", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("removed", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("kept", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_erasures_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "document_id", name=op.f("pk_erasures")),
    )
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.create_index("ix_chunks_pages", ["generation_id", "id"], unique=False)
    op.execute(
        "INSERT INTO answer_sources (answer_id, document_id) "
        "SELECT DISTINCT answer_id, document_id FROM answer_citations"
    )


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.drop_index("ix_chunks_pages")
    op.drop_table("erasures")
    with op.batch_alter_table("answer_sources", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_answer_sources_document_id"))
    op.drop_table("answer_sources")
