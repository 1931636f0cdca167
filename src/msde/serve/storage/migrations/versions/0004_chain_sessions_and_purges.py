"""The audit log becomes a chain, sessions end on the server, and pictures may go before their scores do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from msde.serve.storage.audit_chain import BEGINNING, digest

TIME = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ROWS = 10_000  # at a time

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AUDIT = sa.table(
    "audit",
    *(sa.column("id", ID), sa.column("at", TIME), sa.column("user", sa.String()), sa.column("action", sa.String())),
    *(sa.column("image_id", ID), sa.column("detail", sa.JSON()), sa.column("digest", sa.String())),
)


def upgrade() -> None:
    """Apply."""
    op.add_column("images", sa.Column("purged", TIME, nullable=True))
    op.create_table(
        "sessions",
        sa.Column("cookie", sa.String(length=64), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("cookie"),
    )
    op.add_column("audit", sa.Column("digest", sa.String(length=64), server_default="", nullable=False))
    _chain()


def downgrade() -> None:
    """Take back."""
    op.drop_column("audit", "digest")
    op.drop_table("sessions")
    op.drop_column("images", "purged")


def _chain() -> None:
    """Give the lines there are their digests, from which on they are fixed."""
    connection, before, last = op.get_bind(), BEGINNING, -1
    columns = AUDIT.c
    chosen = sa.select(columns.id, columns.at, columns.user, columns.action, columns.image_id, columns.detail)
    put = sa.update(AUDIT).where(columns.id == sa.bindparam("of")).values(digest=sa.bindparam("to"))
    while rows := connection.execute(chosen.where(columns.id > last).order_by(columns.id).limit(ROWS)).all():
        digests = []
        for row in rows:
            before = digest(before, *row[1:])
            digests.append({"of": row.id, "to": before})
        connection.execute(put, digests)
        last = rows[-1].id
