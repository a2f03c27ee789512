"""Which line an inspection came from, how long its signal took, and why it was late."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    op.add_column("inspections", sa.Column("line", sa.String(), nullable=True))
    op.add_column("inspections", sa.Column("signal_ms", sa.Double(), nullable=True))
    op.add_column("inspections", sa.Column("late", sa.String(), nullable=True))
    op.create_index("inspections_by_line", "inspections", ["line", "id"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index("inspections_by_line", "inspections")
    for name in ("late", "signal_ms", "line"):
        op.drop_column("inspections", name)
