"""What spoke for a score, whom an image is of, as a digest, and the scores of all parts of a volume."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("images", sa.Column("patient", sa.String(length=32), nullable=True))
    op.create_index("ix_images_patient", "images", ["patient"])
    op.add_column("scores", sa.Column("evidence", sa.Text(), nullable=True))
    op.add_column("scores", sa.Column("part_scores", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Take back."""
    for column in ("part_scores", "evidence"):
        op.drop_column("scores", column)
    op.drop_index("ix_images_patient", "images")
    op.drop_column("images", "patient")
