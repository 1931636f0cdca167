"""What several readers say of an image: what counts, what is settled, and how far they agree."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import combinations
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from msde.method.agreement import agreement
from msde.model.verdicts import WITHDRAWN, settled
from msde.serve.models import Current
from msde.serve.reading import Pair
from msde.serve.storage.queue import WAITING
from msde.serve.storage.tables import Image, Score, Verdict

MOST_PAIRS = 10


def latest() -> Select[Any]:
    """Select the numbers of the latest verdict of each reader of each image."""
    return select(func.max(Verdict.id)).group_by(Verdict.image_id, Verdict.reader)


def settle(session: Session, image: Image) -> None:
    """Note on an image how many readers have called it something, and what that comes to."""
    chosen = select(Verdict.verdict).where(Verdict.id.in_(latest().where(Verdict.image_id == image.id)))
    words = [word for word in session.scalars(chosen) if word != WITHDRAWN]
    image.verdict, image.readers = settled(words), len(words)


def seen(session: Session, image_id: int, score: Score | None, reader: str) -> str:
    """Say in a short text what a reader sees of an image: it changes with the score, and with what others say."""
    others = select(func.max(Verdict.id)).where(Verdict.image_id == image_id, Verdict.reader != reader)
    state = "none" if score is None else f"{score.id}-{'queued' if score.state in WAITING else score.state}"
    return f"{state}-{session.scalar(others) or 0}"


def changes(session: Session, image_id: int, before: str, now: str, reader: str) -> str:
    """Say what has changed since a reader has seen something else than there is now."""
    *score, since = before.split("-")
    after = int(since) if since.isdecimal() and len(since) < len(str(2**63)) else 0
    given = select(Verdict).where(Verdict.image_id == image_id, Verdict.reader != reader, Verdict.id > after)
    said = [
        f"{verdict.reader} has taken a verdict back"
        if verdict.verdict == WITHDRAWN
        else f"{verdict.reader} has called it {verdict.verdict}"
        for verdict in session.scalars(given.order_by(Verdict.id))
    ]
    if score != now.split("-")[:-1]:
        said.append("the model says something else of it")
    return " and ".join(said) or "it has changed"


def pairs(session: Session, current: Current) -> list[Pair]:
    """Tell how far readers agree on the images of a model, those with most images in common first."""
    # Of all words the latest is sought here: a database takes seconds to find it among some thousand.
    chosen = (
        select(Verdict.image_id, Verdict.reader, Verdict.verdict)
        .join(Image, Image.id == Verdict.image_id)
        .join(Score, Score.image_id == Image.id)
        .where(Image.readers > 1, Score.model_id == current.model_id, Score.shown)
        .order_by(Verdict.id)
    )
    words: dict[int, dict[str, str]] = defaultdict(dict)
    for image_id, reader, word in session.execute(chosen):
        words[image_id][reader] = word
    common: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for of_image in words.values():
        readers = sorted(reader for reader, word in of_image.items() if word != WITHDRAWN)
        for one, other in combinations(readers, 2):
            common[one, other].append((of_image[one], of_image[other]))
    ordered = sorted(common.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [_pair(readers, both) for readers, both in ordered[:MOST_PAIRS]]


def _pair(readers: tuple[str, str], both: list[tuple[str, str]]) -> Pair:
    found = agreement(*zip(*both, strict=True))
    known = not math.isnan(found.kappa)
    return Pair(
        readers=readers,
        images=found.n,
        agreed=found.agreed,
        kappa=found.kappa if known else None,
        interval=(found.low, found.high) if known else None,
    )
