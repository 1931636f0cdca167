"""Figures in words that need no statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msde.method.predictive_value import PredictiveValue

if TYPE_CHECKING:
    from msde.method.calibration import Calibration
    from msde.method.drift import Drift

MANY_IN_TEN = 0.15
NEARLY_ALL = 0.95
ADVISED = 100
"""Normals, or patients, that a calibration should rest on."""


def how_often(p_value: float, n: int, kind: str = "image") -> str:
    """Return a p-value in words.

    Parameters
    ----------
    p_value : float
        Conformal, in [1 / (n + 1), 1].
    n : int
        Held-out normals that it comes from.
    kind : str, default="image"
        What they are.

    Returns
    -------
    str
        Such as "about 1 in 50 normal images scores this high".

    Examples
    --------
    >>> how_often(0.02, 309)
    'about 1 in 50 normal images scores this high'
    >>> how_often(1 / 310, 309)
    'none of 309 held-out normal images scores this high'
    """
    if round(p_value * (n + 1)) <= 1:
        return f"none of {n:,} held-out normal {kind}s scores this high"
    if p_value >= NEARLY_ALL:
        return f"nearly every normal {kind} scores this high"
    if p_value > MANY_IN_TEN:
        return f"about {round(10 * p_value)} in 10 normal {kind}s score this high"
    return f"about 1 in {round(float(f'{1 / p_value:.2g}')):,} normal {kind}s scores this high"


def how_sure(calibration: Calibration, kind: str = "image") -> str:
    """Return how far a model's own false-alarm rate may lie from the target.

    Parameters
    ----------
    calibration : Calibration
        With a finite threshold.
    kind : str, default="image"
        What it is of.

    Returns
    -------
    str
        A sentence or two.
    """
    low, high = calibration.far_range()
    target = f"{percent(calibration.alpha)} on average over such models"
    if calibration.confidence is not None:
        target = f"at most {percent(calibration.alpha)} with a probability of {percent(calibration.confidence)}"
    units = counted(calibration.n_units, f"normal {kind}")
    if calibration.n_units < len(calibration.scores):
        units = f"{calibration.n_units:,} patients or volumes ({counted(len(calibration.scores), f'normal {kind}')})"
    more = f"; {ADVISED} and more are advised" if calibration.n_units < ADVISED else ""
    return (
        f"False alarms: {target}; of this one, from {units}, between {percent(low)} and {percent(high)} (90 % range)."
        f" The next useful number is {calibration.next_useful:,}{more}."
    )


def at_most_told(alpha: float, prevalence: float, kind: str = "image") -> str:
    """Return what a flag tells at most, were every abnormal image flagged.

    Parameters
    ----------
    alpha : float
        False-alarm rate.
    prevalence : float
        Share of abnormal images.
    kind : str, default="image"
        What is flagged.
    """
    best = PredictiveValue(prevalence, alpha)
    return (
        f"Of 1,000 normal {kind}s about {1000 * alpha:.0f} are flagged. Where {percent(prevalence)} are abnormal, at"
        f" most {percent(best.positive)} of the flagged {kind}s are so, even if none is missed."
    )


def percent(share: float) -> str:
    """Write a share in per cent.

    Examples
    --------
    >>> percent(0.05), percent(0.0062), percent(0.117)
    ('5 %', '0.62 %', '11.7 %')
    """
    return f"{100 * share:.{2 if share < 0.01 else 1}f}".rstrip("0").rstrip(".") + " %"


def counted(n: int, noun: str) -> str:
    """Count things.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{n:,} {noun}{'s' if n != 1 else ''}"


def drift_in_words(drift: Drift, alpha: float) -> str:
    """Say of drift that was found how large it is, what it may mean, and what is not seen.

    Parameters
    ----------
    drift : Drift
    alpha : float
        Target false-alarm rate.
    """
    side, allowed = ("higher", ", a tenth of abnormal images granted,") if drift.higher else ("lower", "")
    meaning = (
        "Either over a tenth are abnormal, or their source is another and p-values are wrong"
        if drift.higher
        else "Their source is another, and what is abnormal may go unflagged"
    )
    return (
        "these images do not look like the normals that the model is calibrated on. Their scores are"
        f" {side}{allowed} by {drift.distance:.2f} (Kolmogorov-Smirnov), of which chance explains"
        f" {drift.explained:.2f}. {meaning} until `msde calibrate` has seen normals of it. "
        + unseen_in_words(drift, alpha)
    )


def unseen_in_words(drift: Drift, alpha: float) -> str:
    """Say what a comparison of scores does not see.

    Parameters
    ----------
    drift : Drift
    alpha : float
        Target false-alarm rate.
    """
    rate = drift.unseen_rate(alpha)
    rise = f", or a rise of false alarms from {alpha:.0%} to less than {rate:.0%}" if rate < 1 else ""
    return (
        f"Not seen, with {drift.n_units:,} patients, volumes or single images: what leaves scores as they are, what"
        f" concerns few images{rise}."
    )


def printable(name: str) -> str:
    """Escape what is not seen or turns the text around, such as a line feed or a direction mark in a file name."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
