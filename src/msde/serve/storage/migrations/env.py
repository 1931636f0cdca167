"""Alembic's entry: runs the migrations on the connection that `msde.serve.storage.database` hands over."""

from __future__ import annotations

from alembic import context

from msde.serve.storage.tables import Base


def run() -> None:
    """Run them."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):  # run by Alembic, and not merely imported
    run()
