"""AnomalyModel: normal images in, a model file out, scores for new images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from msde.backbones import Backbone, load_backbone
from msde.embedding.cache import EmbeddingCache, Embeddings
from msde.embedding.embed import Embedded, MapReader, Tick, embed_images, ticking
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import DataError, ImageError, MSDEError
from msde.heatmaps.colours import ColourScale
from msde.heatmaps.localizer import CALM
from msde.images import ImageRule, expanded, find_images
from msde.images.depicted import Depicted, depicted
from msde.images.patients import Patients
from msde.method.drift import Drift
from msde.model.applicability import Applicability
from msde.model.explanation import Explained, Explanation, T, explain
from msde.model.file import read_model, write_model
from msde.model.fit_report import FitReport
from msde.model.fitted import FittedModel
from msde.model.grouping import Groups, check_groups, with_keys
from msde.model.labels import Kinds
from msde.model.normal_maps import NormalMaps
from msde.model.score import ImageScore
from msde.model.training_set import TrainingSet

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource
    from msde.method.detection import Detection

    Images = str | os.PathLike[str] | Iterable[ImageSource]
    Cache = str | os.PathLike[str] | Embeddings

_DEFAULT_RULE = ImageRule()


class AnomalyModel:
    """A backbone and a detector, from images to calibrated scores.

    Images are given as a path (a file, a folder that is searched recursively, or a glob), or as an iterable of paths,
    Pillow images or arrays. `tick`, where it is given, is called after each image.

    Parameters
    ----------
    backbone : str, Backbone or sequence of them, default="efficientnet_lite0"
        Name of the network, or one loaded by :func:`msde.backbones.load_backbone`. The embeddings of several stand
        side by side.
    detector : MSDEDetector or msde.method.detection.Detection, optional
        An unfitted detector; by default one in inductive mode.
    cache : path or Embeddings, optional
        Folder where embeddings are kept; images in it need not go through the network again.
    looks : sequence of str or FeatureSpec, optional
        How the networks look at an image, such as ``["plain:mean+std", "stretched:mean"]``; see
        :class:`msde.embedding.feature_spec.FeatureSpec`.
    rule : ImageRule, optional
        How files and arrays become pixels, now and at scoring.
    device : {"cpu", "openvino", "cuda"}, default="cpu"
        Where the networks run, and by what; see :data:`msde.backbones.runtime.RUNTIMES`. A model file does not keep it.

    Attributes
    ----------
    encoder : msde.embedding.encoder.Encoder
    rule : ImageRule
    session : msde.embedding.encoder.EncoderSession
        The encoder at work.
    cache : Embeddings or None
    scorer_, calibration_, volumes_, patients_, localizer_, fingerprint_, libraries_
        After a fit, of `fitted`: see :class:`msde.model.fitted.FittedModel`; ``calibration_`` is that of single images.
    unreadable_, distrusted_, n_copies_, peak_, notes_
        What became of the training images: see :class:`msde.model.fit_report.FitReport`. Empty after `load`.

    Examples
    --------
    >>> import numpy as np
    >>> from msde import AnomalyModel
    >>> images = np.random.default_rng(0).uniform(size=(20, 64, 64))
    >>> model = AnomalyModel().fit(images)
    >>> result = model.score([np.zeros((64, 64))])[0]
    >>> result.flagged
    True
    """

    def __init__(
        self,
        backbone: str | Backbone | Sequence[str | Backbone] = "efficientnet_lite0",
        detector: Detection | None = None,
        cache: Cache | None = None,
        looks: Sequence[str | FeatureSpec] = DEFAULT_LOOKS,
        rule: ImageRule = _DEFAULT_RULE,
        device: str = "cpu",
    ) -> None:
        backbones = [backbone] if isinstance(backbone, str | Backbone) else backbone
        encoder = Encoder(
            tuple(network if isinstance(network, Backbone) else load_backbone(network) for network in backbones),
            tuple(look if isinstance(look, FeatureSpec) else FeatureSpec.parse(look) for look in looks),
        )
        # One thread a session: the workers of `embed_images` keep the processors busy, each with a batch of its own.
        self._set_up(EncoderSession(encoder, threads=1, device=device), rule, detector, cache)

    def _set_up(
        self, session: EncoderSession, rule: ImageRule, detector: Detection | None, cache: Cache | None
    ) -> None:
        self.session, self.encoder, self.rule, self.detector = session, session.encoder, rule, detector
        self.cache = EmbeddingCache(cache) if isinstance(cache, str | os.PathLike) else cache
        self._fitted: FittedModel | None = None

    @classmethod
    def of(
        cls, fitted: FittedModel, session: EncoderSession, cache: Cache | None = None, report: FitReport | None = None
    ) -> Self:
        """Return a model of a fit and its encoder at work."""
        model = cls.__new__(cls)
        model._set_up(session, fitted.rule, None, cache)
        return model._hold(fitted, report or FitReport())

    def _hold(self, fitted: FittedModel, report: FitReport) -> Self:
        self._fitted, self._report = fitted, report
        self.scorer_, self.calibration_ = fitted.scorer, fitted.images
        self.volumes_, self.patients_ = fitted.volumes, fitted.patients
        self.localizer_, self.fingerprint_, self.libraries_ = fitted.localizer, fitted.fingerprint, fitted.libraries
        self.unreadable_, self.distrusted_ = report.unreadable, report.distrusted
        self.n_copies_, self.peak_, self.notes_ = report.n_copies, report.peak, report.notes
        return self

    def fit(
        self,
        images: Images,
        unlabelled: Images | None = None,
        *,
        abnormal: Images | None = None,
        kinds: Kinds | None = None,
        groups: Groups | None = None,
        heatmaps: bool = True,
        patches: str | None = None,
        calm: float = CALM,
        confidence: float | None = None,
        applies_to: Sequence[str] | None = None,
        tick: Tick | None = None,
    ) -> Self:
        """Learn what normal images look like.

        Parameters
        ----------
        images : images
            Normals.
        unlabelled : images, optional
            Images as they come in, normal and abnormal, which a detector in adaptive mode learns from too. With them
            the default detector is in that mode.
        abnormal : images, optional
            Images that are known to be abnormal: what is like them scores higher, and `ImageScore.evidence` says so.
            A detector in inductive or adaptive mode learns from them. Their patients are told as those of the normals,
            where `groups` is no sequence.
        kinds : GroupTable or mapping of str to str, optional
            Kind of the abnormal images by path, or by the path of a folder that holds them.
        groups : Patients or sequence of labels, optional
            Which of the normals are of one patient: how it is told, or a label for each image. They are held out
            together, as the parts of a volume always are. By default DICOM files go by their headers.
        heatmaps : bool, default=True
            Learn to tell where an image differs too, of at most 500 of the normals; see `explain`. Fewer than ten
            normals, or a network without feature maps, give no heat maps.
        patches : {"places", "modes", "subspace"}, optional
            What heat maps take for normal, see docs/heatmaps.md; by default "subspace" for transformers and "places"
            for others.
        calm : float, default=0.05
            Share of normal images that may show any colour in their heat maps, in (0, 1).
        confidence : float, optional
            Probability, such as 0.9, with which the false-alarm rate is at most the detector's alpha; by default it is
            alpha on average over fits.
        applies_to : sequence of str, optional
            Which DICOM images the model is for, such as ``["DX:CHEST"]``, or ``["any"]``: others are not scored. By
            default those of the modality and body part that the headers of the normals state, where they do.

        Raises DataError if fewer than two different normals, or none of the unlabelled or abnormal images, can be used,
        an abnormal image is among the normals, or what is said of patients or kinds does not hold for the images.
        """
        from msde.method.detection import Detection  # neither is needed to score
        from msde.model.learning import learn

        stated = None if applies_to is None else Applicability.stated(applies_to)
        seen: list[Depicted | None] = []
        maps = NormalMaps(self.session, patches) if heatmaps and self.session.mapped_views else None
        normals = self._collected(images, groups, "normal", 2, tick, maps, seen)
        pool = None
        if unlabelled is not None:
            pool = TrainingSet.collect(ticking(self.embed(unlabelled), tick), "unlabelled", at_least=1)
        labelled = None
        if abnormal is not None:
            listed, keys = with_keys(_listed(abnormal), groups if isinstance(groups, Patients) else None)
            labelled = TrainingSet.collect(ticking(self.embed(listed), tick), "abnormal", at_least=1, keys=keys)
        elif kinds is not None:
            raise DataError("kinds are those of abnormal images; give these too")
        self.session.give_back()  # what passes took, before the arrays of the fit take as much
        detector = self.detector or Detection("inductive" if pool is None else "adaptive")
        localizer = maps.localizer(normals, calm) if maps else None
        fitted, report = learn(normals, pool, detector, self.encoder, self.rule, localizer, confidence, labelled, kinds)
        known = Applicability.of(seen) if applies_to is None else stated
        return self._hold(replace(fitted, applies_to=known), report)

    def embed(self, images: Images, reader: MapReader | None = None) -> Iterator[Embedded]:
        """Embed images in order; `reader` reads the feature maps in the same pass."""
        return embed_images(self.session, _listed(images), cache=self.cache, rule=self.rule, reader=reader)

    def _collected(
        self,
        images: Images,
        groups: Groups | None,
        kind: str,
        at_least: int,
        tick: Tick | None,
        maps: NormalMaps | None = None,
        seen: list[Depicted | None] | None = None,
    ) -> TrainingSet:
        """Embed normals, and check what is said of their patients; add to `seen` what each depicts."""
        listed, keys = with_keys(_listed(images), groups)
        embedded = ticking(self.embed(listed, maps), tick)
        if seen is not None:
            embedded = _looking(embedded, seen)
        normals = TrainingSet.collect(maps.taking(embedded) if maps else embedded, kind, at_least, keys)
        notes = check_groups(groups, normals.names, normals.keys, normals.groups)
        return replace(normals, notes=normals.notes + notes)

    def score(self, images: Images, *, tick: Tick | None = None) -> list[ImageScore]:
        """Return the scores of images in their order; a volume has one for each slice, then one for itself."""
        return list(self.score_iter(images, tick=tick))

    def score_iter(self, images: Images, *, tick: Tick | None = None) -> Iterator[ImageScore]:
        """Yield what `score` returns, one after the other in bounded memory.

        In transductive mode an image's score depends on the others, so there the first result follows the last image.
        """
        return self.score_embedded(ticking(self.embed(images), tick))

    def score_embedded(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score what `embed` gave, and after the parts of a volume, which follow each other, the volume."""
        return self.fitted.score(embedded)

    def explain(self, source: ImageSource) -> Explanation:
        """Score an image and tell where it differs from the normals, in one pass of the networks.

        Of a file that holds several images, give one, such as ``scan.nii.gz#012``.

        Raises ImageError if the image cannot be used, and MSDEError if the model has no heat maps.
        """
        sources = list(expanded([source]))
        if len(sources) > 1:
            raise ImageError(f"{source}: holds {len(sources)} images; explain one of them, such as {sources[0]}")
        score, explanation = next(self.explain_iter(sources))
        if explanation is None:
            raise ImageError(score.error or f"{score.path}: cannot be used")
        return explanation

    def explain_iter(
        self, images: Images, *, tick: Tick | None = None
    ) -> Iterator[tuple[ImageScore, Explanation | None]]:
        """Yield what `score_iter` does, with explanations: None for volumes and for images that could not be used."""
        return self.explain_each(images, lambda explained: explained, tick=tick)

    def explain_each(self, images: Images, use: Callable[[Explained], T], *, tick: Tick | None = None) -> Iterator[T]:
        """Yield what a function makes of what `explain_iter` yields, in the threads that compute it.

        What takes the memory of an image at its full size is then gone before the next one comes.
        """
        embedded = ticking(self.embed(images, self.fitted.heat_maps()), tick)
        return explain(self.score_embedded(embedded), self.rule, self.colours, use)

    def calibrate(
        self,
        images: Images,
        alpha: float | None = None,
        *,
        groups: Groups | None = None,
        confidence: float | None = None,
        tick: Tick | None = None,
    ) -> Self:
        """Replace the calibration by one on normals of the place where the model is used; nothing is fitted again.

        Parameters
        ----------
        images : images
            Normals that the model was not fitted on, of other patients; 100 and more.
        alpha : float, optional
            Target false-alarm rate, in (0, 1); by default the present one.
        groups : Patients or sequence of labels, optional
            As in `fit`.
        confidence : float, optional
            As in `fit`.

        Raises DataError if no image can be used, one took part in the fit, or what is said of patients does not hold,
        and MSDEError in transductive mode, whose scores depend on the batch.
        """
        self.fitted.check_scores_alone()
        normals = self._collected(images, groups, "calibration", 1, tick)
        report = replace(self._report, unreadable=normals.errors, n_copies=normals.n_copies, notes=normals.notes)
        return self._hold(self.fitted.recalibrated(normals, alpha, confidence), report)

    def drift(self, scores: Iterable[ImageScore], groups: Patients | None = None) -> Drift:
        """Measure whether images look like the calibrating normals; more than a tenth of abnormal ones is drift too.

        `groups` tells which images are of one patient, as in :meth:`msde.model.fitted.FittedModel.drift`.
        """
        return self.fitted.drift(scores, groups)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, backbone included; docs/model-file.md is its specification.

        Raises ModelFileError if it cannot be written; an old file at the path then stays as it was.
        """
        write_model(self.fitted, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], cache: Cache | None = None, device: str = "cpu") -> Self:
        """Read a model file; neither torch nor scikit-learn is imported.

        `cache` and `device` are as in the constructor.

        Raises ModelFileError if the file is missing, truncated, altered, no model file, or written by a newer version,
        and BackboneError if the device cannot be used.
        """
        return cls.of(*read_model(path, device), cache=cache)

    def info(self) -> dict[str, Any]:
        """Describe the model, ready for JSON: backbone, mode and settings, training set, calibration, versions."""
        return self.fitted.describe()

    @property
    def explains(self) -> bool:
        """Whether the model draws heat maps."""
        return self.fitted.localizer is not None

    @property
    def colours(self) -> ColourScale:
        """Where the colours of heat maps begin."""
        return self.fitted.heat_maps().colours

    @property
    def fitted(self) -> FittedModel:
        """The fitted model as a value; raises MSDEError before `fit`."""
        if self._fitted is None:
            raise MSDEError("the model is not fitted; call fit() first, or AnomalyModel.load() a model file")
        return self._fitted

    def _repr_html_(self) -> str:
        """Draw it for a notebook."""
        from msde.model.notebook import model_html

        return model_html([network.name for network in self.encoder.backbones], self._fitted)


def _looking(embedded: Iterable[Embedded], seen: list[Depicted | None]) -> Iterator[Embedded]:
    """Note what usable images depict as they pass."""
    for image in embedded:
        if image.error is None:
            seen.append(depicted(image.source))
        yield image


def _listed(images: Images) -> Iterable[ImageSource]:
    return find_images([images]) if isinstance(images, str | os.PathLike) else images
