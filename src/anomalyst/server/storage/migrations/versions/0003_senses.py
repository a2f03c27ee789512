"""Files of further senses of the same part, beside the one that leads."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    op.add_column("inspections", sa.Column("beside", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("inspections", "beside")
