"""Which scanner an image is from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; headers are read again for it, those without a body part being those that were not read yet."""
    op.add_column("images", sa.Column("scanner", sa.String(length=60), nullable=True))
    op.execute("UPDATE images SET body_part = NULL WHERE purged IS NULL")


def downgrade() -> None:
    """Take back."""
    op.drop_column("images", "scanner")
