"""Embeddings and scores as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from msde.embedding.embed import Embedded
from msde.model.score import COLUMNS, ImageScore
from msde.output.score_table import encodable

EMBEDDINGS = pa.schema(
    [
        ("path", pa.string()),
        ("embedding", pa.list_(pa.float32())),
        ("sha256", pa.binary()),
        ("error", pa.string()),
        ("volume", pa.string()),
        ("peak", pa.float64()),
    ]
)
SCORES = pa.schema(
    [
        ("path", pa.string()),
        ("anomaly_score", pa.float64()),
        ("p_value", pa.float64()),
        ("flagged", pa.bool_()),
        ("error", pa.string()),
    ]
)

_ROWS_AT_ONCE = 1000


def embeddings_table(images: Iterable[Embedded]) -> pa.Table:
    """Return embeddings as a table: path, embedding, sha256 of the pixels, error, volume and peak, a row an image."""
    return pa.Table.from_pylist(
        [
            {
                "path": encodable(image.name),
                "embedding": image.embedding,
                "sha256": image.digest,
                "error": image.error and encodable(image.error),
                "volume": image.volume and encodable(image.volume),
                "peak": image.peak,
            }
            for image in images
        ],
        schema=EMBEDDINGS,
    )


def embeddings(table: pa.Table) -> Iterator[Embedded]:
    """Read what `embeddings_table` wrote."""
    for batch in table.to_batches():
        column = batch.column("embedding")
        values, offsets = column.values.to_numpy(), column.offsets.to_numpy()
        rows = zip(*(batch.column(name).to_pylist() for name in ("path", "sha256", "error", "volume", "peak")))  # noqa: B905
        for row, (name, digest, error, volume, peak) in enumerate(rows):
            values_of_row = values[offsets[row] : offsets[row + 1]]
            yield Embedded(name, None if error else values_of_row, digest, error, volume, peak)


def write_embeddings(images: Iterable[Embedded], path: Path) -> list[str]:
    """Write embeddings to a Parquet file in bounded memory; return one line for each image that could not be used."""
    errors: list[str] = []
    with parquet.ParquetWriter(path, EMBEDDINGS) as writer:
        waiting = iter(images)
        while rows := list(islice(waiting, _ROWS_AT_ONCE)):
            writer.write_table(embeddings_table(rows))
            errors += [image.error for image in rows if image.error is not None]
    return errors


def scores_table(scores: Iterable[ImageScore], columns: Sequence[str] = COLUMNS) -> pa.Table:
    """Return scores as a table with the columns of `msde score`; what is missing is null."""
    further = [(name, pa.string()) for name in columns if name not in SCORES.names]
    schema = pa.schema([*SCORES, *further])
    return pa.Table.from_pylist([_plain(score, columns) for score in scores], schema=schema)


def to_parquet(table: pa.Table, notes: Mapping[str, str]) -> bytes:
    """Write a table with notes in its schema."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(dict(notes)), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def to_stream(table: pa.Table) -> bytes:
    """Write a table for another process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def from_stream(content: bytes) -> pa.Table:
    """Read what `to_stream` wrote."""
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()


def _plain(score: ImageScore, columns: Sequence[str]) -> dict[str, Any]:
    return {name: encodable(value) if isinstance(value, str) else value for name, value in score.row(columns).items()}


def matrix(table: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the embeddings (n, d) of a table in which every row has one."""
    column = table.column("embedding").combine_chunks()
    return column.flatten().to_numpy().reshape(len(table), -1)
