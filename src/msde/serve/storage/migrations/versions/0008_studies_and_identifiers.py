"""Which study and series an image is of, who is to look at it, whom it is of under a key, and what readers prefer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_COLUMNS = {"study": 32, "series": 32, "body_part": 16, "assigned": 200}
_FOUND_BY = ("study", "assigned")


def upgrade() -> None:
    """Apply."""
    for name, length in _COLUMNS.items():
        op.add_column("images", sa.Column(name, sa.String(length=length), nullable=True))
    for name in _FOUND_BY:
        op.create_index(f"ix_images_{name}", "images", [name])
    op.create_table(
        "identifiers",
        sa.Column("image_id", _ID, sa.ForeignKey("images.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("mark", sa.String(length=16), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "preferences",
        sa.Column("user", sa.String(length=200), primary_key=True),
        sa.Column("chosen", sa.JSON(), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("preferences")
    op.drop_table("identifiers")
    for name in _FOUND_BY:
        op.drop_index(f"ix_images_{name}", "images")
    for name in _COLUMNS:
        op.drop_column("images", name)
