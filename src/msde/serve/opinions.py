"""What each of the models served says of one image."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy.orm import Session

from msde.serve import worklist
from msde.serve.models import Models
from msde.serve.schemas import Opinion
from msde.serve.storage.tables import Image


def opinions(session: Session, models: Models, image_id: int) -> list[Opinion]:
    """List what the models say that have the image, in the order in which they are served."""
    said = []
    for current in models:
        found: Any = session.execute(worklist.select_rows(current).where(Image.id == image_id)).one_or_none()
        if found is not None:
            row = worklist.row(current, math.inf, *found)
            told = {name: getattr(row, name) for name in Opinion.model_fields if hasattr(row, name)}
            said.append(Opinion(**{**told, "model": current.name, "in_use": current.number}))
    return said
