"""Who did what, only added to; a product's version; answers to repeated requests."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = depends_on = None

SAID = "the audit log is only added to"


def upgrade() -> None:
    """Bring the schema here."""
    text = sa.String()
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", text, nullable=False),
        sa.Column("what", text, nullable=False),
        sa.Column("about", text, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("previous", text, nullable=False),
        sa.Column("digest", text, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.add_column("requests", sa.Column("answer", sa.JSON(), nullable=True))
    op.add_column(
        "settings", sa.Column("version", sa.Integer(), nullable=False, server_default="0")
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION audit_only_added() RETURNS trigger AS $$ BEGIN "
            f"RAISE EXCEPTION '{SAID}'; END $$ LANGUAGE plpgsql"
        )
        op.execute(
            "CREATE TRIGGER audit_only_added BEFORE UPDATE OR DELETE ON audit "
            "FOR EACH ROW EXECUTE FUNCTION audit_only_added()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{SAID}'); END"
        )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_only_added")
    op.drop_column("requests", "answer")
    op.drop_column("settings", "version")
