"""Which DICOM objects have come in: tables in place of the data folder's pacs.db, which is read once and then left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import context, op

from msde.serve.logs import log_failure

TIME = sa.DateTime(timezone=True)
ROWS = 10_000  # read at a time

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    instances = op.create_table(
        "dicom_instances",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("fate", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
    )
    series = op.create_table(
        "dicom_series",
        sa.Column("pacs", sa.String(length=60), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("pacs", "uid"),
    )
    failures = op.create_table(
        "dicom_failures",
        sa.Column("pacs", sa.String(length=60), nullable=False),
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("series", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", TIME, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("pacs", "uid"),
    )
    folder = context.config.attributes.get("folder")
    if folder is None or not (folder / "pacs.db").exists():
        return
    try:
        with closing(sqlite3.connect(folder / "pacs.db")) as earlier:
            for name, table in (("instances", instances), ("series", series), ("failures", failures)):
                columns = [column.name for column in table.columns]
                rows = earlier.execute(f"SELECT {', '.join(columns)} FROM {name}")  # noqa: S608 - our own names
                while some := rows.fetchmany(ROWS):
                    op.bulk_insert(table, [_timed(dict(zip(columns, row, strict=True))) for row in some])
    except sqlite3.Error as error:  # archives are then read anew
        log_failure("pacs.db could not be taken over", error)


def downgrade() -> None:
    """Take back."""
    for table in ("dicom_failures", "dicom_series", "dicom_instances"):
        op.drop_table(table)


def _timed(row: dict[str, object]) -> dict[str, object]:
    moment = row.get("next_try")
    return {**row, "next_try": datetime.fromtimestamp(moment, UTC)} if isinstance(moment, float) else row
