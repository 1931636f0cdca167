"""Several readers of an image: how many there are, and what their latest words come to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; what stood there was the latest word of whichever reader."""
    op.add_column("images", sa.Column("readers", sa.Integer(), nullable=False, server_default="0"))
    connection = op.get_bind()
    words: dict[int, dict[str, str]] = {}
    rows = connection.execute(sa.text("SELECT image_id, reader, verdict FROM verdicts ORDER BY id"))
    for image_id, reader, word in rows:
        words.setdefault(image_id, {})[reader] = word
    change = sa.text("UPDATE images SET verdict = :verdict, readers = :readers WHERE id = :image")
    values = [{"image": image, "verdict": _settled(of), "readers": len(of)} for image, of in words.items()]
    if values:
        connection.execute(change, values)


def downgrade() -> None:
    """Take back."""
    op.drop_column("images", "readers")


def _settled(words: dict[str, str]) -> str:
    called = set(words.values()) - {"unsure"}
    return "disputed" if len(called) > 1 else next(iter(called), "unsure")
