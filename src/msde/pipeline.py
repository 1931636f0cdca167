"""AnomalyModel: normal images in, a model file out, scores for new images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from msde.backbones import Backbone, load_backbone
from msde.backbones.session import execution_providers
from msde.bundle import read_bundle, write_bundle
from msde.cache import EmbeddingCache
from msde.calibration import Calibration, grouped
from msde.drift import Drift, measure_drift
from msde.embedding import Embedded, MapReader, embed_images
from msde.encoder import DEFAULT_LOOKS, Encoder, EncoderSession
from msde.errors import DataError, ModelFileError, MSDEError
from msde.fingerprint import Fingerprint
from msde.images import AS_EVER, ImageRule, find_images
from msde.localize.localizer import Localizer
from msde.localize.normals import Normals
from msde.look import Look
from msde.record import put_together, take_apart
from msde.scorer import SCORERS, Scorer
from msde.volumes import volume_score

if TYPE_CHECKING:
    from msde.embedding import ImageSource
    from msde.estimators.detector import MSDEDetector
    from msde.localize import Explanation

    Images = str | os.PathLike[str] | Iterable[ImageSource]
    Cache = str | os.PathLike[str] | EmbeddingCache

_LIBRARIES = ("msde", "numpy", "scipy", "scikit-learn", "onnxruntime", "pillow", "safetensors")
MAX_INPUT_SIZE = 2048
_DEFAULT_RULE = ImageRule()
_UNUSABLE = -1
Tick = Callable[[], object]


@dataclass(frozen=True)
class ImageScore:
    """What a model says of one image.

    Parameters
    ----------
    path : str
        Path of the image, or its number where it has none.
    anomaly_score : float
        The higher the more abnormal; at least 0 but in adaptive mode. NaN where the image could not be used.
    p_value : float
        How often a normal scores at least as high, in [1 / (n + 1), 1]; NaN likewise, and in transductive mode.
    flagged : bool or None
        Whether the p-value is at most the target false-alarm rate; None likewise.
    error : str or None
        Why the image could not be used.
    """

    path: str
    anomaly_score: float
    p_value: float
    flagged: bool | None
    error: str | None


class VolumeScore(ImageScore):
    """What a model says of a volume, stack or slide, by :func:`msde.volumes.volume_score` of its parts.

    Its p-value is NaN where the model is not calibrated on volumes.
    """


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
    looks : sequence of str or Look, optional
        How the networks look at an image, such as ``["plain:mean+std", "stretched:mean"]``; see
        :class:`msde.look.Look`.
    rule : ImageRule, optional
        How files and arrays become pixels, now and at scoring.
    device : {"cpu", "cuda"}, default="cpu"
        Where the networks run; a model file does not keep it.

    Attributes
    ----------
    encoder : msde.encoder.Encoder
    cache : EmbeddingCache or None
    rule : ImageRule
    scorer_ : msde.scorer.Scorer
    calibration_ : msde.calibration.Calibration
    volumes_ : msde.calibration.Calibration or None
        Of whole volumes: where enough of them were among the normals to flag a volume, and once `calibrate` was given
        some.
    fingerprint_ : msde.fingerprint.Fingerprint
        Of the training images.
    unreadable_ : list of str
        One line for each training image that could not be used.
    distrusted_ : list of str
        Names of training images that stand out from the others, the most doubtful first; the Gaussian is fitted
        without them. Empty after `load`: a model file holds no names.
    n_copies_ : int
        Exact copies of other images, which are left out.
    peak_ : float
        The brightest pixel of all training images, in [0, 1]; NaN after `load`.
    localizer_ : msde.localize.Localizer or None
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
        looks: Sequence[str | Look] = DEFAULT_LOOKS,
        rule: ImageRule = _DEFAULT_RULE,
        device: str = "cpu",
    ) -> None:
        backbones = [backbone] if isinstance(backbone, str | Backbone) else backbone
        self.encoder = Encoder(
            tuple(one if isinstance(one, Backbone) else load_backbone(one) for one in backbones),
            tuple(look if isinstance(look, Look) else Look.parse(look) for look in looks),
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

        maps = Normals(self._session) if heatmaps and self._session.mapped_views else None
        embedded = ticking(self.embed(images, maps), tick)
        normals = _gather(maps.taking(embedded) if maps else embedded, "normal", at_least=2)
        pool = None
        if unlabelled is not None:
            pool = _gather(ticking(self.embed(unlabelled), tick), "unlabelled", at_least=1)
        detector = self.detector
        if detector is None:
            detector = MSDEDetector("inductive" if pool is None else "adaptive")
        groups = normals.groups(detector.alpha)
        detector.fit(normals.rows, unlabelled=None if pool is None else pool.rows, groups=groups)
        self.unreadable_ = normals.errors + (pool.errors if pool else [])
        self.n_copies_ = normals.n_copies + (pool.n_copies if pool else 0)
        worst_first = np.argsort(-detector.doubt_, kind="stable")
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
        volumes: deque[str | None] = deque()
        rows = self.score_embedded(_noting(embedded, volumes))
        volume: str | None = None
        parts: list[ImageScore] = []
        for row in rows:
            if parts and volumes[0] != volume:
                yield self._summed_up(volume, parts)
                parts = []
            volume = volumes.popleft()
            if volume is not None:
                parts.append(row)
            yield row
        if parts:
            yield self._summed_up(volume, parts)

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
        if self.scorer_.batchwise:
            yield from self._results(list(embedded))
        else:
            for image in embedded:
                yield from self._results([image])

    def explain(self, source: ImageSource) -> Explanation:
        """Score an image and tell where it differs from the normals, in one pass of the networks.

        Parameters
        ----------
        source : path, Pillow image or array
            One image; of a file that holds several, one of them, such as ``scan.nii.gz#012``.

        Returns
        -------
        msde.localize.Explanation
            Its score, heat map and overlay.

        Raises
        ------
        ImageError
            If the image cannot be used.
        MSDEError
            If the model has no heat maps.
        """
        from msde.localize.explain import explain_one

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
        tuple of ImageScore and msde.localize.Explanation or None
            What `score_iter` yields, each with its explanation; None for a volume, whose parts have theirs, and for an
            image that could not be used.

        Raises
        ------
        MSDEError
            If the model has no heat maps.
        """
        from msde.localize.explain import explain_images

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
        normals = _gather(ticking(self.embed(images), tick), "calibration", at_least=1)
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
        held_out = self.scorer_.score(normals.rows)
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
        records = {
            "scorer": self.scorer_,
            "calibration": self.calibration_,
            "fingerprint": self.fingerprint_,
            "images": self.rule,
            **({"volumes": self.volumes_} if self.volumes_ else {}),
        }
        taken = {part: take_apart(record) for part, record in records.items()}
        parts = {part: arrays for part, (arrays, _) in taken.items() if arrays}
        heatmaps = self.localizer_
        write_bundle(
            path,
            {**parts, **self.encoder.arrays(), **(heatmaps.arrays() if heatmaps else {})},
            {
                **{part: settings for part, (_, settings) in taken.items()},
                **({"localizer": heatmaps.describe()} if heatmaps else {}),
                "libraries": self.libraries_,
                "encoder": self.encoder.describe(),
                "mode": _mode_of(self.scorer_),
            },
        )

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
        execution_providers(device)  # first, for a device that is absent is no fault of the file
        config, parts = read_bundle(path)
        try:
            encoder = Encoder.from_description(config["encoder"], parts)
            rule = put_together(ImageRule, {}, config["images"]) if "images" in config else AS_EVER
            model = cls(encoder.backbones, cache=cache, looks=encoder.looks, rule=rule, device=device)
            model.scorer_ = put_together(SCORERS[config["mode"]], parts["scorer"], config["scorer"])
            model.calibration_ = put_together(Calibration, parts["calibration"], config["calibration"])
            model.volumes_ = None
            if "volumes" in config:
                model.volumes_ = put_together(Calibration, parts["volumes"], config["volumes"])
            model.fingerprint_ = put_together(Fingerprint, parts["fingerprint"], config["fingerprint"])
            model.libraries_ = config["libraries"]
            model.localizer_ = None
            if "localizer" in config:
                model.localizer_ = Localizer.from_description(config["localizer"], parts)
                model.localizer_.check(model._session)
            model._check_widths()
        except KeyError as error:
            raise ModelFileError(
                f"{path}: the model lacks {error}; restore the file from a copy or fit again"
            ) from error
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path}: is no model ({error}); restore the file from a copy or fit again") from error
        except MSDEError as error:
            raise ModelFileError(f"{path}: {error}") from error
        model.unreadable_, model.distrusted_, model.n_copies_, model.peak_ = [], [], 0, float("nan")
        return model

    def info(self) -> dict[str, Any]:
        """Describe the model, ready for JSON.

        Returns
        -------
        dict
            Backbone, mode and settings, training set, calibration, library versions.
        """
        self._check_fitted()
        return {
            "mode": _mode_of(self.scorer_),
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

    def _results(self, embedded: Sequence[Embedded]) -> Iterator[ImageScore]:
        usable = [image.embedding for image in embedded if image.embedding is not None]
        scores: NDArray[np.float64] = np.full(len(embedded), np.nan)
        if usable:
            scores[[image.embedding is not None for image in embedded]] = self.scorer_.score(np.stack(usable))
        p_values, flagged = self.calibration_.p_values(scores), self.calibration_.flagged(scores)
        for image, score, p_value, flag in zip(embedded, scores, p_values, flagged, strict=True):
            error = image.error
            if error is None and not np.isfinite(score):
                error = f"{image.name}: has no finite score; check the image and the model"
            if error is not None:
                yield ImageScore(image.name, float("nan"), float("nan"), None, error)
            elif self.scorer_.batchwise:
                yield ImageScore(image.name, float(score), float("nan"), None, None)
            else:
                yield ImageScore(image.name, float(score), float(p_value), bool(flag), None)

    def _summed_up(self, volume: str | None, parts: Sequence[ImageScore]) -> VolumeScore:
        """Score a volume by its parts."""
        name, n_bad = str(volume), sum(part.error is not None for part in parts)
        if n_bad:
            error = f"{name}: {n_bad} of its {len(parts)} parts cannot be used, so it has no score; see their lines"
            return VolumeScore(name, float("nan"), float("nan"), None, error)
        score = np.array([volume_score(np.array([part.anomaly_score for part in parts]))])
        if self.volumes_ is None or self.scorer_.batchwise:
            return VolumeScore(name, float(score[0]), float("nan"), None, None)
        p_value, flagged = self.volumes_.p_values(score), self.volumes_.flagged(score)
        return VolumeScore(name, float(score[0]), float(p_value[0]), bool(flagged[0]), None)

    def _check_widths(self) -> None:
        """Try one embedding, so that arrays which do not fit together are found at loading."""
        if max(self.encoder.input_sizes) > MAX_INPUT_SIZE:
            raise ValueError(f"an input of {max(self.encoder.input_sizes)} px is larger than {MAX_INPUT_SIZE}")
        score = self.scorer_.score(np.zeros((1, self._session.dim), dtype=np.float32))
        if score.shape != (1,):
            raise ValueError("the scorer gives no single score an image")

    def _check_fitted(self) -> None:
        if not hasattr(self, "scorer_"):
            raise MSDEError("the model is not fitted; call fit() first, or AnomalyModel.load() a model file")


@dataclass(frozen=True)
class _Gathered:
    """Usable, distinct images of one kind, and what became of the others."""

    rows: NDArray[np.float32]
    names: list[str]
    digests: list[bytes]
    errors: list[str]
    n_copies: int
    volumes: dict[str, list[int]]  # the row of each one's parts, or _UNUSABLE
    peak: float

    @property
    def whole(self) -> list[list[int]]:
        """The volumes of which all parts can be used; of copies the first."""
        return list({tuple(sorted(rows)): rows for rows in self.volumes.values() if _UNUSABLE not in rows}.values())

    def volume_scores(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score the whole volumes by the scores of the rows; ascending."""
        return np.sort([volume_score(scores[rows]) for rows in self.whole])

    def groups(self, alpha: float) -> NDArray[np.intp] | None:
        """Give rows their volumes' numbers, or None where too few volumes are whole to flag one at this rate."""
        if int(alpha * (len(self.whole) + 1) + 1e-9) < 1:
            return None
        parts = [[row for row in rows if row != _UNUSABLE] for rows in self.volumes.values()]
        groups = grouped(len(self.rows), parts)
        return groups if groups.max() > 0 else None


def _gather(embedded: Iterable[Embedded], kind: str, at_least: int) -> _Gathered:
    rows: list[NDArray[np.float32]] = []
    names: list[str] = []
    digests: dict[bytes, int] = {}
    errors: list[str] = []
    n_copies = 0
    volumes: dict[str, list[int]] = {}
    peak = 0.0
    for image in embedded:
        if image.embedding is None:
            errors.append(image.error or "")
        elif image.digest in digests:  # a copy among the held-out normals would vouch for itself
            n_copies += 1
        else:
            digests[image.digest] = len(rows)
            rows.append(image.embedding)
            names.append(image.name)
        peak = max(peak, image.peak)
        if image.volume is not None:
            volumes.setdefault(image.volume, []).append(digests.get(image.digest, _UNUSABLE))
    if len(rows) < at_least:
        reason = f" ({errors[0]})" if errors else ""
        n = len(rows) + len(errors) + n_copies
        copies = f", {n_copies} are copies" if n_copies else ""
        raise DataError(
            f"{len(rows)} of {n} {kind} images can be used{copies}{reason}; give at least {at_least} of them"
        )
    return _Gathered(np.stack(rows), names, list(digests), errors, n_copies, volumes, peak)


def _sources(images: Images) -> Iterable[ImageSource]:
    return find_images([images]) if isinstance(images, str | os.PathLike) else images


def _mode_of(scorer: Scorer) -> str:
    return next(mode for mode, kind in SCORERS.items() if isinstance(scorer, kind))


def _noting(embedded: Iterable[Embedded], volumes: deque[str | None]) -> Iterator[Embedded]:
    """Pass images on and note the volume of each."""
    for image in embedded:
        volumes.append(image.volume)
        yield image


def ticking(embedded: Iterable[Embedded], tick: Tick | None) -> Iterator[Embedded]:
    """Pass images on and call `tick`, where there is one, after each."""
    for image in embedded:
        yield image
        if tick is not None:
            tick()
