"""The parts of a finished job as one table, put together in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msde.cluster.job_folder import JobFolder
from msde.output.score_table import csv_row, jsonl_row
from msde.storage.atomic import writing


def write_embeddings_of(job: JobFolder, path: Path) -> None:
    """Write the embeddings of a job to a Parquet file, in the order of its list."""
    _write_parquet(job, path)


def write_scores(job: JobFolder, path: Path) -> None:
    """Write the scores of a job to a table, .csv, .jsonl or .parquet, with the rows that `msde score` writes alone."""
    if path.suffix.lower() == ".parquet":
        return _write_parquet(job, path)
    with writing(path, keep=True) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        for number, part in enumerate(_parts(job)):
            if path.suffix.lower() == ".jsonl":
                file.writelines(map(jsonl_row, part.to_pylist()))
                continue
            if number == 0:
                file.write(csv_row(part.column_names))
            file.writelines(csv_row(row.values()) for row in part.to_pylist())


def _write_parquet(job: JobFolder, path: Path) -> None:
    from pyarrow import parquet

    parts = _parts(job)
    first = next(parts)
    with writing(path, keep=True) as unfinished, parquet.ParquetWriter(unfinished, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def _parts(job: JobFolder) -> Iterator[Any]:
    """Read the tables of the parts one after the other, without the notes of what each took."""
    from pyarrow import parquet

    for number in range(job.n_parts):
        with job.open_part(number) as file:
            yield parquet.read_table(file).replace_schema_metadata()
