"""Ask an archive for new images, by QIDO-RS and WADO-RS.

A search cannot ask for what is new, so each round lists the series of recent studies and looks into those whose number
of instances is not the one they had when all of them were settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

from sqlalchemy.exc import SQLAlchemyError

from msde.errors import ImageError
from msde.serve.errors import Postponed, TooLarge
from msde.serve.intake.image_rows import Sender
from msde.serve.logs import log
from msde.serve.pacs.dicomweb import Listed, Pacs, PacsDownError, PacsError, Series
from msde.serve.pacs.instance import picture_classes
from msde.serve.pacs.intake import SETTLED, Fate, Intake

MISSED = "missed"  # not fetched, and to be tried again


def poll(pacs: Pacs, intake: Intake, stopped: Callable[[], bool] = lambda: False) -> Counter[str]:
    """Fetch what an archive has that has not been seen.

    Parameters
    ----------
    pacs : Pacs
    intake : Intake
    stopped : callable
        Whether to stop after the present instance.

    Returns
    -------
    Counter of str
        How many instances met which fate.

    Raises
    ------
    PacsDownError
        If it does not answer; nothing is lost, the next round finds the same.
    PacsError
        If it cannot be searched.
    Postponed
        If the service has no room.
    """
    settings, ledger, fates = pacs.settings, intake.ledger, Counter[str]()
    since = date.today() - timedelta(days=settings.days)
    for series in pacs.series(since, settings.match):
        if series.n_instances is not None and ledger.n_settled(settings.name, series.uid) == series.n_instances:
            continue
        if not ledger.may_try(settings.name, series.uid):
            continue
        try:
            found = _read(series, pacs, intake, stopped)
        except PacsError as error:  # one series that cannot be listed must not hold up the others
            _note_failure(error, series.uid, series.uid, pacs, intake)
            continue
        fates += found
        if stopped():
            break
        if MISSED not in found and series.n_instances is not None:
            ledger.settle(settings.name, series.uid, series.n_instances)
    return fates


def _read(series: Series, pacs: Pacs, intake: Intake, stopped: Callable[[], bool]) -> Counter[str]:
    """Fetch the instances of a series that have not been seen, and count their fates; those given up have none."""
    name, ledger, fates = pacs.settings.name, intake.ledger, Counter[str]()
    for one in pacs.instances(series):
        if stopped():
            fates[MISSED] += 1
            break
        known = ledger.find(one.uid)
        if known is not None and known.fate in SETTLED:
            continue
        if one.sop_class and one.sop_class not in picture_classes():
            ledger.note(one.uid, Fate.NO_PICTURE)
            fates[Fate.NO_PICTURE] += 1
            continue
        due = ledger.may_try(name, one.uid)
        if due:
            fates[_fetch(one, pacs, intake)] += 1
        elif due is not None:
            fates[MISSED] += 1
    return fates


def _fetch(one: Listed, pacs: Pacs, intake: Intake) -> str:
    name = pacs.settings.name
    try:
        _, fate = intake.take(pacs.fetch(one), Sender(f"poll:{name}"))
    except (Postponed, OSError, SQLAlchemyError):
        raise
    except Exception as error:  # one that cannot be used must not hold up the others
        _note_failure(error, one.uid, one.series, pacs, intake)
        return MISSED
    if fate is Fate.REFUSED:
        damaged = ImageError("it cannot be read, or has no pixels; mend it in the archive")
        _note_failure(damaged, one.uid, one.series, pacs, intake)
        return MISSED
    return fate


def _note_failure(error: Exception, uid: str, series: str, pacs: Pacs, intake: Intake) -> None:
    """Count a failed attempt against an instance or series, unless all of the archive is down."""
    if isinstance(error, PacsDownError):
        pacs.check()  # raises where it is
    known = isinstance(error, PacsError | ImageError | TooLarge)
    reason = str(error) if known else f"it cannot be kept ({type(error).__name__})"
    intake.ledger.fail(pacs.settings.name, uid, series, reason)
    log("warning", "an instance or series was not fetched", pacs=pacs.settings.name, reason=reason)
