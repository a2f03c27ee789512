"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    op.create_table(
        "changes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("changes_by_product", "changes", ["product", "id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sink", sa.String(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("deliveries_waiting", "deliveries", ["sent_at", "next_at"], unique=False)
    op.create_table(
        "inspections",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("picture", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=True),
        sa.Column("false_alarm_rate", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("uncertainty", sa.Double(), nullable=True),
        sa.Column("record", sa.JSON(), nullable=True),
        sa.Column("heat", sa.String(), nullable=True),
        sa.Column("shown", sa.String(), nullable=True),
        sa.Column("revision", sa.String(), nullable=True),
        sa.Column("reviewed", sa.String(), nullable=True),
        sa.Column("alarm", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("inspections_by_product", "inspections", ["product", "id"], unique=False)
    op.create_index("inspections_by_state", "inspections", ["state"], unique=False)
    op.create_index(
        "inspections_to_review", "inspections", ["reviewed", "uncertainty"], unique=False
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "requests",
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("made", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("by", "key"),
    )
    op.create_table(
        "settings",
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("false_alarm_rate", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("product"),
    )
    op.create_table(
        "corrections",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("inspection", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("corrections_by_inspection", "corrections", ["inspection"], unique=False)
    op.create_table(
        "turns",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("inspection", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("turns_by_inspection", "turns", ["inspection", "id"], unique=False)


def downgrade() -> None:
    """Undo it."""
    op.drop_index("turns_by_inspection", table_name="turns")
    op.drop_table("turns")
    op.drop_index("corrections_by_inspection", table_name="corrections")
    op.drop_table("corrections")
    op.drop_table("settings")
    op.drop_table("requests")
    op.drop_table("keys")
    op.drop_index("inspections_to_review", table_name="inspections")
    op.drop_index("inspections_by_state", table_name="inspections")
    op.drop_index("inspections_by_product", table_name="inspections")
    op.drop_table("inspections")
    op.drop_index("deliveries_waiting", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("changes_by_product", table_name="changes")
    op.drop_table("changes")
