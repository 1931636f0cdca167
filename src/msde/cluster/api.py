"""The jobs: embed images, or score them, on a cluster."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from msde.cluster.cluster import Cluster
from msde.cluster.driver import Summary, Tell, run
from msde.cluster.encoders import encoder_file
from msde.cluster.job_folder import JobFolder
from msde.embedding.encoder import Encoder
from msde.errors import MSDEError
from msde.images import ImageRule
from msde.images.rule import OUTDATED
from msde.model.anomaly_model import AnomalyModel
from msde.storage.records import take_apart


def score_on(
    cluster: Cluster, model: str | os.PathLike[str], images: Sequence[str], tell: Tell, warn: Tell | None = None
) -> Summary:
    """Score images as :meth:`msde.AnomalyModel.score` does, into the cluster's folder of parts.

    `images` are as :func:`msde.cluster.listing.sources` takes them; `tell` takes a line on the progress now and then,
    `warn`, if it is another, what is to be known of the results. Raises MSDEError if the model is transductive, the
    folder holds another job, or the cluster fails.
    """
    loaded = AnomalyModel.load(model)
    if loaded.scorer_.batchwise:
        raise MSDEError(f"{model}: transductive scores depend on the batch, which parts would cut; fit without --mode")
    if loaded.rule.outdated:
        (warn or tell)(OUTDATED)
    content = Path(model).read_bytes()
    told_by = hashlib.sha256(content).hexdigest()
    return run(JobFolder.start(cluster.parts, "score", (told_by, content), images, cluster.part_rows), cluster, tell)


def embed_on(
    cluster: Cluster, encoder: Encoder, rule: ImageRule, images: Sequence[str], tell: Tell
) -> tuple[JobFolder, Summary]:
    """Embed images as :meth:`msde.AnomalyModel.embed` does; return the job, whose parts hold them, and its figures.

    Takes `images` and `tell`, and raises, as `score_on`.
    """
    told_by = f"{encoder.sha256} {json.dumps(take_apart(rule)[1], sort_keys=True)}"
    model = told_by, encoder_file(encoder, rule)
    job = JobFolder.start(cluster.parts, "embed", model, images, cluster.part_rows)
    return job, run(job, cluster, tell)
