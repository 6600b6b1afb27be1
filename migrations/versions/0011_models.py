"""models, routes and budgets, and what an answer's models took"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward. Answers that were there were written by the model that they name."""
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("capabilities", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("context_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("input_price", sa.Float(), nullable=True),
        sa.Column("cached_price", sa.Float(), nullable=True),
        sa.Column("output_price", sa.Float(), nullable=True),
        sa.Column("effort", sa.String(length=16), nullable=True),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("licence", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "routes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("steps", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routes")),
    )
    op.create_table(
        "budgets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("collection_id", sa.String(length=64), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("usd", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name=op.f("fk_budgets_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["collection_id"],
            ["collections.id"],
            name=op.f("fk_budgets_collection_id_collections"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budgets")),
    )
    with op.batch_alter_table("budgets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_budgets_key_id"), ["key_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_budgets_collection_id"), ["collection_id"], unique=False)
    op.create_table(
        "spendings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("answer_id", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("collection_id", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=128), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("usd", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spendings")),
    )
    with op.batch_alter_table("spendings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_spendings_at"), ["at"], unique=False)
        batch_op.create_index("ix_spendings_key_id_at", ["key_id", "at"], unique=False)
        batch_op.create_index("ix_spendings_collection_id_at", ["collection_id", "at"], unique=False)
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("route", sa.JSON(none_as_null=True), server_default=sa.text("'[]'"), nullable=False)
        )
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.alter_column("route", server_default=None)


def downgrade() -> None:
    """Go back. The catalogue, its route, budgets and the ledger are lost."""
    with op.batch_alter_table("answers", schema=None) as batch_op:
        batch_op.drop_column("route")
    op.drop_table("spendings")
    op.drop_table("budgets")
    op.drop_table("routes")
    op.drop_table("models")
