"""Figures in words that need no statistics."""

from __future__ import annotations

MANY_IN_TEN = 0.15
NEARLY_ALL = 0.95


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


def counted(n: int, noun: str) -> str:
    """Count things.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{n:,} {noun}{'s' if n != 1 else ''}"


def printable(name: str) -> str:
    """Escape what is not seen or turns the text around, such as a line feed or a direction mark in a file name."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
