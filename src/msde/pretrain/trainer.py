"""Train a network to tell normals from their synthetic anomalies, and go on after a kill. Needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from msde.pretrain.images import PretrainImages
from msde.pretrain.network import Learner
from msde.pretrain.training_state import Best, Training, TrainingPlan, batch

SAVED_EVERY = 20  # steps


@dataclass(frozen=True)
class Progress:
    """Where a training is: steps done, the last step's loss, the quality in [0, 1] where it was measured."""

    step: int
    loss: float
    quality: float | None


def train(
    learner: Learner,
    normals: PretrainImages,
    plan: TrainingPlan,
    checkpoint: Path,
    report: Callable[[Progress], object] = lambda _: None,
) -> Best:
    """Train a network, going on from the checkpoint if there is one; return the best weights, which it then holds.

    Those of the start are among the candidates. The checkpoint is written every few steps and stays. `report` is called
    after each step, and once before the first, with step 0 or the checkpoint's. Raises BackboneError if the loss is no
    longer finite, DataError if the checkpoint is of another run, OutputError if it cannot be written.
    """
    training = Training(learner, normals, plan)
    if checkpoint.exists():
        training.restore(checkpoint)
    else:
        training.measure()
    measured_at = {math.ceil(plan.steps * part / plan.measurements) for part in range(plan.measurements + 1)}
    report(Progress(training.step, math.nan, training.best.qualities.get(training.step)))
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(batch, normals, plan, training.step)
        while training.step < plan.steps:
            drawn = waiting.result()
            waiting = ahead.submit(batch, normals, plan, training.step + 1)
            loss = training.advance(drawn)
            quality = training.measure() if training.step in measured_at else None
            if quality is not None or training.step % SAVED_EVERY == 0:
                training.save(checkpoint)
            report(Progress(training.step, loss, quality))
    learner.network.load_state_dict(training.best.weights, strict=False)
    return training.best
