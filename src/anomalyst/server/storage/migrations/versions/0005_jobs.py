"""What takes long is done in the background: how far it is, and how it ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = depends_on = None


def upgrade() -> None:
    """Bring the schema here."""
    text, number = sa.String(), sa.Integer()
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "jobs",
        sa.Column("kind", text, nullable=False),
        sa.Column("product", text, nullable=False),
        sa.Column("by", text, nullable=False),
        sa.Column("owner", text, nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("said", text, nullable=False),
        sa.Column("done", number, nullable=True),
        sa.Column("total", number, nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("problem", text, nullable=True),
        sa.Column("ended_at", moment, nullable=True),
        sa.Column("id", text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("jobs_by_product", "jobs", ["product", "id"])
    op.create_index("jobs_by_state", "jobs", ["state"])


def downgrade() -> None:
    """Undo it."""
    op.drop_table("jobs")
