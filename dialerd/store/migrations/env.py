"""Alembic's entrance: runs the migrations on the connection that migrate() gives."""

from alembic import context

from dialerd.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    context.run_migrations()
