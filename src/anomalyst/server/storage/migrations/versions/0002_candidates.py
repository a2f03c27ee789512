"""Several answers to one question, and which of them or which turn a correction is about."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    names: dict[str, Any] = {"id": sa.String(), "inspection": sa.String(), "question": sa.String()}
    names |= {"turns": sa.JSON(), "answers": sa.JSON(), "order": sa.JSON(), "by": sa.String()}
    names |= {"created_at": sa.DateTime(timezone=True)}
    op.create_table(
        "candidates",
        *(sa.Column(name, kind, nullable=False) for name, kind in names.items()),
        sa.ForeignKeyConstraint(["inspection"], ["inspections.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("candidates_by_inspection", "candidates", ["inspection"], unique=False)
    op.add_column("corrections", sa.Column("about", sa.String(), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("corrections", "about")
    op.drop_table("candidates")
