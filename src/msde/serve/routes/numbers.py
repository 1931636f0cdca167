"""Numbers of a model over weeks, for the page and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from msde.output.score_table import csv_row
from msde.serve import audit
from msde.serve.numbers import Numbers, ScannerWeek, Week, numbers
from msde.serve.reading import Pair
from msde.serve.routes.access import REFUSALS, Reader, Served, ThisModel, TokenFirst

router = APIRouter(route_class=TokenFirst, prefix="/api/models/{model}", tags=["numbers"], responses=REFUSALS)
Weeks = Annotated[int, Query(ge=1, le=260, description="The latest, with the one that runs.")]
Table = Literal["weeks", "scanners", "readers"]
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
_ENDS = {
    **dict.fromkeys(("flags_interval", "false_alarm_interval", "interval"), ("low", "high")),
    "scores": ("p5", "p25", "p50", "p75", "p95"),
    "to_score": ("median", "p90"),
    "to_verdict": ("median", "p90"),
    "readers": ("1", "2"),
}


@router.get("/numbers")
def of_model(service: Served, caller: Reader, current: ThisModel, weeks: Weeks = 26) -> Numbers:
    """Return flags, false alarms, scores, turnaround and drift by week, drift by scanner, and how readers agree."""
    service.views.note(caller.user, "numbers")
    return numbers(service.database, service.models, current, weeks)


@router.get("/numbers.csv", responses=_CSV, response_class=Response)
def table(service: Served, caller: Reader, current: ThisModel, weeks: Weeks = 26, table: Table = "weeks") -> Response:
    """Return one of the tables as CSV: weeks, scanners by week, or pairs of readers."""
    found = numbers(service.database, service.models, current, weeks)
    with service.database.write() as session:
        audit.record(session, caller.user, "export", model=current.name, table=table)
    kinds: dict[Table, tuple[type[BaseModel], Sequence[BaseModel]]] = {
        "weeks": (Week, [*found.weeks, found.total]),
        "scanners": (ScannerWeek, found.scanners),
        "readers": (Pair, found.pairs),
    }
    kind, rows = kinds[table]
    lines = [csv_row([column for name in kind.model_fields for column in _columns(name)])]
    lines += [
        csv_row([cell for name in kind.model_fields for cell in _cells(name, getattr(row, name))]) for row in rows
    ]
    headers = {"content-disposition": f'attachment; filename="{table}.csv"'}
    return Response("".join(lines), media_type="text/csv; charset=utf-8", headers=headers)


def _columns(name: str) -> list[str]:
    return [f"{name}_{end}" for end in _ENDS[name]] if name in _ENDS else [name]


def _cells(name: str, value: Any) -> list[Any]:
    if name == "week":
        return ["all" if value is None else value.isoformat()]
    if name not in _ENDS:
        return [value]
    if value is None:
        return [None] * len(_ENDS[name])
    return list(dict(value).values()) if isinstance(value, BaseModel) else list(value)
