"""What a DICOM object's pixels and file were, so that its UID alone does not decide."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("dicom_instances", sa.Column("pixels", sa.String(length=64), nullable=True))
    op.add_column("dicom_instances", sa.Column("digest", sa.String(length=64), nullable=True))
    op.create_index("ix_dicom_instances_pixels", "dicom_instances", ["pixels"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_dicom_instances_pixels", "dicom_instances")
    for column in ("pixels", "digest"):
        op.drop_column("dicom_instances", column)
