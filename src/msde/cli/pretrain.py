"""`msde pretrain`: normal images in, an encoder out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from msde.cli.options import complete_backbone, with_answer, with_checkpoint, with_output, with_seed
from msde.cli.progress import answer, progress, quiet, report_unreadable, say
from msde.pretrain.tasks import TASKS

if TYPE_CHECKING:
    from msde.pretrain.trainer import Progress


@click.command()
@click.argument("normals", nargs=-1, required=True, metavar="NORMALS...", type=click.Path())
@with_output(required=True, help="Encoder to write, .safetensors.")
@click.option("--task", type=click.Choice(list(TASKS)), default="anatpaste", show_default=True, help="Pretext task.")
@click.option(
    "--backbone",
    default="efficientnet_lite0",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_backbone,
    help="Network to start from.",
)
@with_checkpoint
@click.option("--random", is_flag=True, help="Start from random weights, which takes far more steps.")
@click.option("--steps", type=click.IntRange(1), default=200, show_default=True, help="Steps of training.")
@click.option("--batch", type=click.IntRange(2), default=16, show_default=True, help="Normal images a step.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True, help="Learning rate.")
@click.option(
    "--input-size",
    "size",
    type=click.IntRange(32, 1024),
    metavar="PX",
    help="Side of the training images in pixels; a transformer sees this size ever after. [default: 160, or the"
    " transformer's own]",
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the layers that learns, the last ones. [default: half, of a transformer a quarter]",
)
@with_seed
@with_answer
def pretrain(
    normals: tuple[str, ...],
    output: Path,
    task: str,
    backbone: str,
    checkpoint: Path | None,
    random: bool,
    steps: int,
    batch: int,
    rate: float,
    size: int | None,
    share: float | None,
    seed: int,
) -> None:
    """Train an encoder on normal images: it learns to tell them from synthetic anomalies.

    NORMALS are files, folders (searched recursively) or globs of normal images. The encoder is used with
    `msde fit --backbone file:ENCODER`. A run that was killed goes on where it was when it is started again.
    """
    from msde.images import find_images
    from msde.pretrain.encoder import write_encoder
    from msde.pretrain.images import read_normals
    from msde.pretrain.network import load_start
    from msde.pretrain.trainer import train
    from msde.pretrain.training_state import TrainingPlan
    from msde.storage.atomic import check_writable

    check_writable(output)
    paths = find_images(normals)
    learner = load_start(backbone, checkpoint, random=random, seed=seed, size=size)
    with progress("Reading", len(paths)) as tick:
        images = read_normals(paths, size or learner.training_size, seed, tick)
    state = output.with_name(f"{output.name}.checkpoint")
    plan = TrainingPlan(task=task, steps=steps, batch=batch, rate=rate, share=share, seed=seed)
    best = train(learner, images, plan, state, Teller(steps))
    story = {
        "task": task,
        "start": learner.start,
        "steps": best.step,
        "normals": len(images.pixels),
        "quality": best.qualities,
        "seed": seed,
    }
    write_encoder(output, learner, story)
    state.unlink(missing_ok=True)
    start, reached = best.qualities[0], best.qualities[best.step]
    if best.step == 0:
        say(f"{output}: the start's own weights, for by the held-out normals no others are better ({start:.3f})")
    else:
        say(
            f"{output}: weights of step {best.step}, by the held-out normals the best: they tell synthetic anomalies"
            f" of other kinds apart with an AUROC of {reached:.3f}, the start with {start:.3f}"
        )
    qualities = {str(step): quality for step, quality in best.qualities.items()}
    answer({"output": str(output), **story, "quality": qualities, "errors": images.errors})
    report_unreadable(images.errors)


class Teller:
    """Tells on standard error how a training goes: each step on a terminal, each measurement elsewhere."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.terminal = sys.stderr is not None and sys.stderr.isatty()
        self.began: tuple[int, float] | None = None

    def __call__(self, now: Progress) -> None:
        """Tell of one step."""
        if quiet():
            return
        if self.began is None:
            self.began = now.step, time.monotonic()
            if now.step:
                click.echo(f"Going on from step {now.step}", err=True)
        done, seconds = now.step - self.began[0], time.monotonic() - self.began[1]
        line = f"Step {now.step} of {self.steps}"
        if done:
            line += f", loss {now.loss:.3f}, {clock(seconds / done * (self.steps - now.step))} left"
        if now.quality is not None:
            line += f", AUROC of held-out normals {now.quality:.3f}"
        if self.terminal:
            click.echo(f"\r{line}\x1b[K", nl=now.quality is not None, err=True)
        elif now.quality is not None:
            click.echo(line, err=True)


def clock(seconds: float) -> str:
    """Write a time as hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
