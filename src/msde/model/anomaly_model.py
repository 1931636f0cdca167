"""AnomalyModel: normal images in, a model file out, scores for new images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from msde.backbones import Backbone, load_backbone
from msde.distance_shares import DistanceShare, check_shares, distance_shares
from msde.embedding.cache import EmbeddingCache
from msde.embedding.embed import Embedded, MapReader, Tick, embed_images, ticking
from msde.embedding.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.embedding.feature_spec import FeatureSpec
from msde.errors import DataError, MSDEError
from msde.heatmaps.localizer import Localizer
from msde.images import ImageRule, find_images
from msde.method.calibration import Calibration
from msde.method.drift import Drift, measure_drift
from msde.method.scorers import Scorer
from msde.model.file import mode_of, read_model, write_model
from msde.model.fingerprint import Fingerprint
from msde.model.normal_maps import NormalMaps
from msde.model.score import ImageScore, ImageScorer, VolumeScore
from msde.model.training_set import gather
from msde.storage.records import take_apart

if TYPE_CHECKING:
    from msde.embedding.embed import ImageSource
    from msde.estimators.detector import MSDEDetector
    from msde.model.explanation import Explanation

    Images = str | os.PathLike[str] | Iterable[ImageSource]
    Cache = str | os.PathLike[str] | EmbeddingCache

_LIBRARIES = ("msde", "numpy", "scipy", "scikit-learn", "onnxruntime", "pillow", "safetensors")
_DEFAULT_RULE = ImageRule()


class AnomalyModel:
    """A backbone and a detector, from images to calibrated scores.

    Parameters
    ----------
    backbone : str, Backbone or sequence of them, default="efficientnet_lite0"
        Name of the network, or one loaded by :func:`msde.backbones.load_backbone`. The embeddings of several stand
        side by side.
    detector : MSDEDetector, optional
        An unfitted detector; by default ``MSDEDetector()``.
    cache : path or EmbeddingCache, optional
        Folder where embeddings are kept; images in it need not go through the network again.
    looks : sequence of str or FeatureSpec, optional
        How the networks look at an image, such as ``["plain:mean+std", "stretched:mean"]``; see
        :class:`msde.embedding.feature_spec.FeatureSpec`.
    rule : ImageRule, optional
        How files and arrays become pixels, now and at scoring.
    device : {"cpu", "cuda"}, default="cpu"
        Where the networks run; a model file does not keep it.

    Attributes
    ----------
    encoder : msde.embedding.encoder.Encoder
    cache : EmbeddingCache or None
    rule : ImageRule
    scorer_ : msde.method.scorers.Scorer
    calibration_ : msde.method.calibration.Calibration
    volumes_ : msde.method.calibration.Calibration or None
        Of whole volumes: where enough of them were among the normals to flag a volume, and once `calibrate` was given
        some.
    fingerprint_ : msde.model.fingerprint.Fingerprint
        Of the training images.
    unreadable_ : list of str
        One line for each training image that could not be used.
    distrusted_ : list of str
        Names of training images that stand out from the others, the most doubtful first; only adaptive mode leaves them
        out of its Gaussian. Empty after `load`: a model file holds no names.
    n_copies_ : int
        Exact copies of other images, which are left out.
    peak_ : float
        The brightest pixel of all training images, in [0, 1]; NaN after `load`.
    localizer_ : msde.heatmaps.localizer.Localizer or None
        Draws heat maps; None where the fit left it out, or the network gives no feature maps.
    libraries_ : dict of str to str
        Versions of the libraries that fitted the model.

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
        detector: MSDEDetector | None = None,
        cache: Cache | None = None,
        looks: Sequence[str | FeatureSpec] = DEFAULT_LOOKS,
        rule: ImageRule = _DEFAULT_RULE,
        device: str = "cpu",
    ) -> None:
        backbones = [backbone] if isinstance(backbone, str | Backbone) else backbone
        self.encoder = Encoder(
            tuple(one if isinstance(one, Backbone) else load_backbone(one) for one in backbones),
            tuple(look if isinstance(look, FeatureSpec) else FeatureSpec.parse(look) for look in looks),
        )
        self.detector = detector
        self.rule = rule
        self.cache = cache if cache is None or isinstance(cache, EmbeddingCache) else EmbeddingCache(cache)
        # One thread a session: the workers of `embed_images` keep the processors busy, each with a batch of its own.
        self._session = EncoderSession(self.encoder, threads=1, device=device)

    def fit(
        self,
        images: Images,
        unlabelled: Images | None = None,
        *,
        heatmaps: bool = True,
        tick: Tick | None = None,
    ) -> Self:
        """Learn what normal images look like.

        Parameters
        ----------
        images : path or iterable of paths, Pillow images or arrays
            Normals; a path may be a file, a folder (searched recursively) or a glob.
        unlabelled : path or iterable of paths, Pillow images or arrays, optional
            Images as they come in, normal and abnormal, which a detector in adaptive mode learns from too. With them
            the default detector is in that mode.
        heatmaps : bool, default=True
            Learn to tell where an image differs too, of at most 500 of the normals; see `explain`. Fewer than ten
            normals, or a network without feature maps, give no heat maps.
        tick : callable, optional
            Called after each image.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If fewer than two different normals, or none of the unlabelled images, can be used.
        """
        from msde.estimators.detector import MSDEDetector

        maps = NormalMaps(self._session) if heatmaps and self._session.mapped_views else None
        embedded = ticking(self.embed(images, maps), tick)
        normals = gather(maps.taking(embedded) if maps else embedded, "normal", at_least=2)
        pool = None
        if unlabelled is not None:
            pool = gather(ticking(self.embed(unlabelled), tick), "unlabelled", at_least=1)
        detector = self.detector
        if detector is None:
            detector = MSDEDetector("inductive" if pool is None else "adaptive")
        groups = normals.groups(detector.alpha)
        detector.fit(normals.rows, unlabelled=None if pool is None else pool.rows, groups=groups)
        self.unreadable_ = normals.errors + (pool.errors if pool else [])
        self.n_copies_ = normals.n_copies + (pool.n_copies if pool else 0)
        worst_first = np.argsort(-detector.outlyingness_, kind="stable")
        self.distrusted_ = [normals.names[row] for row in worst_first if not detector.trusted_[row]]
        self.scorer_: Scorer = detector.scorer_
        if self.scorer_.batchwise:
            self.calibration_ = Calibration(np.empty(0), detector.alpha, "none: scores depend on the batch")
        else:
            self.calibration_ = detector.calibration_
        self.volumes_: Calibration | None = None
        if groups is not None and not self.scorer_.batchwise:
            scores = normals.volume_scores(detector.cross_fitted_scores())
            self.volumes_ = Calibration(scores, detector.alpha, "cross-fitted training volumes")
        self.localizer_: Localizer | None = maps.localizer() if maps else None
        self.peak_ = normals.peak
        self.fingerprint_ = Fingerprint.of(normals.digests, pool.digests if pool else [])
        self.libraries_ = {library: version(library) for library in _LIBRARIES}
        return self

    def embed(self, images: Images, reader: MapReader | None = None) -> Iterator[Embedded]:
        """Embed images in order.

        Parameters
        ----------
        images : path or iterable of paths, Pillow images or arrays
            As in `fit`.
        reader : MapReader, optional
            Reads the feature maps in the same pass.

        Yields
        ------
        Embedded
            One an image.
        """
        return embed_images(self._session, _sources(images), cache=self.cache, rule=self.rule, reader=reader)

    def score(self, images: Images, *, tick: Tick | None = None) -> list[ImageScore]:
        """Score images.

        Parameters
        ----------
        images : path or iterable of paths, Pillow images or arrays
            As in `fit`.
        tick : callable, optional
            Called after each image.

        Returns
        -------
        list of ImageScore
            One an image, in their order. An unreadable image has its error; the others are scored. A volume has one for
            each slice, then one for itself.
        """
        return list(self.score_iter(images, tick=tick))

    def score_iter(self, images: Images, *, tick: Tick | None = None) -> Iterator[ImageScore]:
        """Score images one after the other in bounded memory.

        In transductive mode an image's score depends on the others, so there the first result follows the last image.

        Parameters
        ----------
        images, tick
            As in `score`.

        Yields
        ------
        ImageScore
            One an image, in their order, and a VolumeScore after the parts of each volume.
        """
        return self.score_with_volumes(ticking(self.embed(images), tick))

    def score_with_volumes(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score what `embed` gave, and the volumes that images are parts of.

        Parameters
        ----------
        embedded : iterable of Embedded
            Images after embedding; the parts of a volume follow each other.

        Yields
        ------
        ImageScore
            One an image, in their order, and a VolumeScore after the parts of each volume.
        """
        self._check_fitted()
        return self._image_scorer.score_with_volumes(embedded)

    def score_embedded(self, embedded: Iterable[Embedded]) -> Iterator[ImageScore]:
        """Score what `embed` gave.

        Parameters
        ----------
        embedded : iterable of Embedded
            Images after embedding.

        Yields
        ------
        ImageScore
            One an image, in their order.
        """
        self._check_fitted()
        return self._image_scorer.score(embedded)

    def distance_shares(self, image: Embedded) -> list[DistanceShare]:
        """Tell what an image's distance from the normals is made of.

        Parameters
        ----------
        image : Embedded
            What `embed` gave.

        Returns
        -------
        list of msde.distance_shares.DistanceShare
            Its share by network, view, pooling and level; none for an image that could not be used.

        Raises
        ------
        MSDEError
            If the model is not of inductive mode.
        """
        self._check_fitted()
        scorer = check_shares(self.scorer_)
        if image.embedding is None:
            return []
        return distance_shares(scorer, self._session.blocks, image.name, image.embedding)

    def explain(self, source: ImageSource) -> Explanation:
        """Score an image and tell where it differs from the normals, in one pass of the networks.

        Parameters
        ----------
        source : path, Pillow image or array
            One image; of a file that holds several, one of them, such as ``scan.nii.gz#012``.

        Returns
        -------
        msde.model.explanation.Explanation
            Its score, heat map and overlay.

        Raises
        ------
        ImageError
            If the image cannot be used.
        MSDEError
            If the model has no heat maps.
        """
        from msde.model.explain import explain_one

        return explain_one(self, source)

    def explain_iter(
        self, images: Images, *, tick: Tick | None = None
    ) -> Iterator[tuple[ImageScore, Explanation | None]]:
        """Score images and tell where they differ, one after the other in bounded memory.

        Parameters
        ----------
        images, tick
            As in `score`.

        Yields
        ------
        tuple of ImageScore and msde.model.explanation.Explanation or None
            What `score_iter` yields, each with its explanation; None for a volume, whose parts have theirs, and for an
            image that could not be used.

        Raises
        ------
        MSDEError
            If the model has no heat maps.
        """
        from msde.model.explain import explain_images

        return explain_images(self, _sources(images), tick)

    def calibrate(self, images: Images, alpha: float | None = None, *, tick: Tick | None = None) -> Self:
        """Replace the calibration by one on normals of the place where the model is used; nothing is fitted again.

        Parameters
        ----------
        images : path or iterable of paths, Pillow images or arrays
            Normals that the model was not fitted on, as in `fit`; a few dozen are enough.
        alpha : float, optional
            Target false-alarm rate, in (0, 1); by default the present one.
        tick : callable, optional
            Called after each image.

        Returns
        -------
        self

        Raises
        ------
        DataError
            If no image can be used, or one took part in the fit.
        MSDEError
            In transductive mode, whose scores depend on the batch.
        """
        self._check_fitted()
        if self.scorer_.batchwise:
            raise MSDEError(
                "transductive scores depend on the batch, so there is nothing to calibrate; fit without --mode"
            )
        normals = gather(ticking(self.embed(images), tick), "calibration", at_least=1)
        known = [
            name
            for name, digest in zip(normals.names, normals.digests, strict=True)
            if self.fingerprint_.count_known([digest])
        ]
        if known:
            raise DataError(
                f"{known[0]}: took part in the fit ({len(known)} of the calibration images did), where scores are too"
                " low; leave such images out"
            )
        self.unreadable_, self.n_copies_ = normals.errors, normals.n_copies
        alpha = self.calibration_.alpha if alpha is None else alpha
        # One by one, as images are scored: in a batch, the last bits differ, and a normal may score above itself.
        held_out = np.concatenate([self.scorer_.score(row[None]) for row in normals.rows])
        self.calibration_ = Calibration(np.sort(held_out), alpha, "held-out normals given to calibrate")
        whole = normals.volume_scores(held_out)
        self.volumes_ = Calibration(whole, alpha, "held-out volumes given to calibrate") if len(whole) else None
        return self

    def drift(self, scores: Iterable[ImageScore]) -> Drift:
        """Tell whether scored images look like the normals that the model is calibrated on.

        Parameters
        ----------
        scores : iterable of ImageScore
            What `score` gave.

        Returns
        -------
        Drift
            With more than a tenth of abnormal images drift is found as well.
        """
        alone = [score.anomaly_score for score in scores if not isinstance(score, VolumeScore)]
        return measure_drift(self.calibration_.scores, np.array(alone))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model file, backbone included; docs/model-file.md is its specification.

        Parameters
        ----------
        path : path-like
            Where to; an old file there stays whole until the new one is complete.

        Raises
        ------
        ModelFileError
            If it cannot be written.
        """
        self._check_fitted()
        write_model(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], cache: Cache | None = None, device: str = "cpu") -> AnomalyModel:
        """Read a model file; neither torch nor scikit-learn is imported.

        Parameters
        ----------
        path : path-like
            A file that `save` wrote.
        cache : path or EmbeddingCache, optional
            As in the constructor.
        device : {"cpu", "cuda"}, default="cpu"
            As in the constructor.

        Returns
        -------
        AnomalyModel
            Ready to score.

        Raises
        ------
        ModelFileError
            If the file is missing, truncated, altered, no model file, or written by a newer version.
        BackboneError
            If the device cannot be used.
        """
        return read_model(cls, path, cache, device)

    def info(self) -> dict[str, Any]:
        """Describe the model, ready for JSON.

        Returns
        -------
        dict
            Backbone, mode and settings, training set, calibration, library versions.
        """
        self._check_fitted()
        return {
            "mode": mode_of(self.scorer_),
            "encoder": self.encoder.describe(),
            "images": take_apart(self.rule)[1],
            "training": {
                "images": self.fingerprint_.n_normals,
                "unlabelled": len(self.fingerprint_.digests) - self.fingerprint_.n_normals,
                "fingerprint": self.fingerprint_.sha256,
            },
            "calibration": {
                "source": self.calibration_.source,
                "normals": len(self.calibration_.scores),
                "alpha": self.calibration_.alpha,
                "threshold": self.calibration_.threshold if np.isfinite(self.calibration_.threshold) else None,
                "resolution": self.calibration_.resolution,
                "volumes": len(self.volumes_.scores) if self.volumes_ else 0,
            },
            "scorer": take_apart(self.scorer_)[1],
            "heatmaps": self.localizer_ is not None,
            "libraries": self.libraries_,
        }

    @property
    def _image_scorer(self) -> ImageScorer:
        return ImageScorer(self.scorer_, self.calibration_, self.volumes_)

    def _check_fitted(self) -> None:
        if not hasattr(self, "scorer_"):
            raise MSDEError("the model is not fitted; call fit() first, or AnomalyModel.load() a model file")


def _sources(images: Images) -> Iterable[ImageSource]:
    return find_images([images]) if isinstance(images, str | os.PathLike) else images
