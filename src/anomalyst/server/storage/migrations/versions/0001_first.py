"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = depends_on = None

TEXT, MOMENT = sa.String(), sa.DateTime(timezone=True)
NUMBER: Any = sa.Double()
INDEXES = {  # TABLE_...: columns
    "changes_by_product": ["product", "id"],
    "deliveries_waiting": ["sent_at", "next_at"],
    "inspections_by_product": ["product", "id"],
    "inspections_by_state": ["state"],
    "inspections_to_review": ["reviewed", "uncertainty"],
    "corrections_by_inspection": ["inspection"],
    "turns_by_inspection": ["inspection", "id"],
}


def needed(**columns: Any) -> list[sa.Column[Any]]:
    """Columns by name and type that every row fills."""
    return [sa.Column(name, kind, nullable=False) for name, kind in columns.items()]


def optional(**columns: Any) -> list[sa.Column[Any]]:
    """Columns by name and type that may be null."""
    return [sa.Column(name, kind, nullable=True) for name, kind in columns.items()]


def upgrade() -> None:
    """Bring the schema here."""
    op.create_table(
        "changes",
        *needed(id=TEXT, product=TEXT, kind=TEXT, detail=sa.JSON(), by=TEXT, created_at=MOMENT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "deliveries",
        *needed(id=TEXT, sink=TEXT, payload=sa.JSON(), attempts=sa.Integer()),
        *optional(problem=TEXT),
        *needed(created_at=MOMENT, next_at=MOMENT),
        *optional(sent_at=MOMENT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "keys",
        *needed(id=TEXT, name=TEXT, role=TEXT, digest=TEXT, created_at=MOMENT),
        *optional(revoked_at=MOMENT),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "requests",
        *needed(by=TEXT, key=TEXT, fingerprint=TEXT, made=sa.JSON(), created_at=MOMENT),
        sa.PrimaryKeyConstraint("by", "key"),
    )
    op.create_table(
        "settings",
        *needed(product=TEXT, false_alarm_rate=NUMBER),
        sa.PrimaryKeyConstraint("product"),
    )
    _create_inspections()
    for index, columns in INDEXES.items():
        op.create_index(index, index.partition("_")[0], columns, unique=False)


def _create_inspections() -> None:
    def of_inspection() -> list[sa.Constraint]:
        target = ["inspections.id"]
        foreign = sa.ForeignKeyConstraint(["inspection"], target, ondelete="CASCADE")
        return [foreign, sa.PrimaryKeyConstraint("id")]

    op.create_table(
        "inspections",
        *needed(id=TEXT, product=TEXT, picture=TEXT, name=TEXT, source=TEXT, by=TEXT, owner=TEXT),
        *optional(question=TEXT),
        *needed(false_alarm_rate=NUMBER, created_at=MOMENT, state=TEXT),
        *optional(problem=TEXT, done_at=MOMENT, verdict=TEXT, score=NUMBER, p_value=NUMBER),
        *optional(uncertainty=NUMBER, record=sa.JSON(), heat=TEXT, shown=TEXT, revision=TEXT),
        *optional(reviewed=TEXT, alarm=TEXT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "corrections",
        *needed(id=TEXT, inspection=TEXT, product=TEXT, kind=TEXT, detail=sa.JSON(), by=TEXT),
        *needed(created_at=MOMENT),
        *optional(applied_at=MOMENT, undone_at=MOMENT),
        *of_inspection(),
    )
    op.create_table(
        "turns",
        *needed(id=TEXT, inspection=TEXT, question=TEXT, answer=sa.JSON(), by=TEXT),
        *needed(created_at=MOMENT),
        *of_inspection(),
    )


def downgrade() -> None:
    """Undo it; a table takes its indexes with it."""
    dependent, others = ("turns", "corrections"), ("settings", "requests", "keys", "inspections")
    for table in (*dependent, *others, "deliveries", "changes"):
        op.drop_table(table)
