"""How bad a part is, to sort by; inspections of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    op.add_column("inspections", sa.Column("severity", sa.Double(), nullable=True))
    op.create_index("inspections_by_severity", "inspections", ["severity"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index("inspections_by_severity", "inspections")
    op.drop_column("inspections", "severity")
