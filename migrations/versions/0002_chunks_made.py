"""what the chunker made, beside what is stored"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Receipts of the former shape are forgotten: they are put together again from what is stored."""
    for name in ("made", "embedded"):
        with op.batch_alter_table("indexings", schema=None) as batch_op:
            batch_op.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        with op.batch_alter_table("indexings", schema=None) as batch_op:
            batch_op.alter_column(name, server_default=None)
    op.execute("UPDATE indexings SET made = chunks, embedded = 0")
    op.execute("UPDATE versions SET receipt = '{}'")


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("indexings", schema=None) as batch_op:
        batch_op.drop_column("embedded")
        batch_op.drop_column("made")
    op.execute("UPDATE versions SET receipt = '{}'")
