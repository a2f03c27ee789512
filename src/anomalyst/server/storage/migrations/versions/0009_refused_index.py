"""Refused messages are found by an index."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    op.create_index("deliveries_refused", "deliveries", ["refused_at"], if_not_exists=True)


def downgrade() -> None:
    """Undo it."""
    op.drop_index("deliveries_refused", "deliveries", if_exists=True)
