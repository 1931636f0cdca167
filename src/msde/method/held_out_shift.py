"""Where normals move along the frozen path of the others: the shift of held-out rows, without shifting again.

A position on the path is a weighted mean of first positions. The weights of rows that are left out are taken away from
it, and the others share them; so nothing of a held-out row is left in the path that it follows, but for its part in the
choice of neighbours, in the density weights and in the standardisation. docs/guarantees.md measures what that makes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msde.method.arrays import FloatArray, IndexArray, evenly_spaced
from msde.method.frozen_shift import FrozenShift
from msde.method.leave_group_out import Pulls
from msde.method.parallel import for_blocks

_BLOCK_ROWS = 128


@dataclass(frozen=True)
class HeldOutShift:
    """The path of normals, and of what first positions each position on it is the mean.

    Parameters
    ----------
    shift : FrozenShift
    landmarks : ndarray of shape (m,)
        Numbers of those that took the path.
    shares : ndarray of shape (n_steps, m, m), float32
        Before each step, the share of each landmark's position that comes from the first position of each.
    inside : bool
        Whether all normals are landmarks, so that displacements are given in the space of the path.
    """

    shift: FrozenShift
    landmarks: IndexArray
    shares: NDArray[np.float32]
    inside: bool

    @classmethod
    def of(
        cls, shift: FrozenShift, rows: FloatArray, standardize: Callable[[FloatArray], FloatArray]
    ) -> tuple[HeldOutShift, FloatArray, Pulls]:
        """Follow the path with all its normals, and note who pulls whom.

        Parameters
        ----------
        shift : FrozenShift
        rows : ndarray of shape (n, d)
            Its normals, in their order at the fit.
        standardize : callable
            Standardises some of them.

        Returns
        -------
        path : HeldOutShift
        moved : ndarray of shape (n, p), float64, or (n, d), float32
            Displacements of all rows, inside the space of the path or not.
        pulls : Pulls
            Who pulls whom, over the whole path.
        """
        n, m = len(rows), len(shift.weights)
        landmarks = evenly_spaced(n, m)
        padded = np.zeros((n, m + 1), dtype=np.float32)
        shares = padded[:, :m]
        shares[landmarks, np.arange(m)] = 1
        position = np.empty((n, shift.axes.shape[1]))

        def start(block: slice) -> None:
            position[block] = shift.inside(standardize(rows[block]))

        for_blocks(start, n, _BLOCK_ROWS)
        noted = np.empty((len(shift.layers), m, m), dtype=np.float32)
        for step, among in enumerate(noted):
            among[:] = shares[landmarks]

            def move(block: slice, step: int = step, among: NDArray[np.float32] = among) -> None:
                pull = _pull(shift, position[block], step)
                position[block] = shift.moved(position[block], pull @ shift.layer(step))
                shares[block] += np.float32(shift.learning_rate) * (pull.astype(np.float32) @ among - shares[block])

            for_blocks(move, n, _BLOCK_ROWS)
        moved = np.empty((n, shift.axes.shape[m == n]), dtype=np.float64 if m == n else np.float32)

        def measure(block: slice) -> None:
            moved[block] = _displacement(shift, standardize(rows[block]), position[block], m == n)

        for_blocks(measure, n, _BLOCK_ROWS)
        return cls(shift, landmarks, noted, m == n), moved, Pulls(padded, landmarks)

    def displacement(self, rows: FloatArray, groups: IndexArray, of_landmarks: IndexArray) -> NDArray[np.float64]:
        """Tell where rows move along the path without their groups.

        Parameters
        ----------
        rows : ndarray of shape (b, d)
            Standardised.
        groups : ndarray of shape (b,)
            Numbers of their groups.
        of_landmarks : ndarray of shape (m,)
            Those of the landmarks.

        Returns
        -------
        ndarray of shape (b, p) or (b, d), float64
            Last position minus first, as `of` gives them.
        """
        shift = self.shift
        left_out = groups[:, None] == of_landmarks
        of_group = np.flatnonzero(left_out.any(axis=0))  # few of all: only what they have pulled is taken out
        goes, first = left_out[:, of_group], shift.layer(0)[of_group]
        position = shift.inside(rows)
        for step, shares in enumerate(self.shares):
            pull = _pull(shift, position, step, left_out)
            theirs = np.where(goes, pull.astype(np.float32) @ shares[:, of_group], 0).astype(np.float64)
            others = 1 - theirs.sum(axis=1, keepdims=True)
            mean = (pull @ shift.layer(step) - theirs @ first) / np.maximum(others, np.finfo(np.float32).eps)
            position = shift.moved(position, mean)
        return _displacement(shift, rows, position, self.inside)


def _displacement(
    shift: FrozenShift, rows: FloatArray, position: NDArray[np.float64], inside: bool
) -> NDArray[np.float64]:
    start = shift.inside(rows)
    return position - start if inside else shift.outside(rows, start, position)


def _pull(
    shift: FrozenShift, position: NDArray[np.float64], step: int, left_out: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the share of each normal in the pull on rows, (b, m)."""
    pull = np.zeros((len(position), len(shift.weights)))
    neighbors, shares = shift.nearest(position, step, left_out)
    np.put_along_axis(pull, neighbors, shares, axis=1)
    return pull
