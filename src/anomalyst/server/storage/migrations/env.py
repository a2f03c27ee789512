"""Alembic's way in: runs migrations on the connection that database.py holds."""

from alembic import context

from anomalyst.server.storage.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
