"""archives to unpack and addresses to fetch"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "arrivals",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("collection_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=512), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("principals", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("collections", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("blob_id", sa.String(length=64), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("external_id", sa.String(length=512), nullable=True),
        sa.Column("meta", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("restricted", sa.Boolean(), nullable=False),
        sa.Column("grants", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_arrivals_blob_id_blobs")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_arrivals")),
    )
    with op.batch_alter_table("arrivals", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_arrivals_blob_id"), ["blob_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_arrivals_collection_id"), ["collection_id"], unique=False)
    with op.batch_alter_table("documents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("batch_id", sa.String(length=64), nullable=True))
        batch_op.create_index(batch_op.f("ix_documents_batch_id"), ["batch_id"], unique=False)
    with op.batch_alter_table("partial_uploads", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unpack", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("partial_uploads", schema=None) as batch_op:
        batch_op.drop_column("unpack")
    with op.batch_alter_table("documents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_documents_batch_id"))
        batch_op.drop_column("batch_id")
    op.drop_table("arrivals")
