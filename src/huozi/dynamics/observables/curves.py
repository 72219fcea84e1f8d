"""How far apart two curves are, in view of their errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class CurveDifference(NamedTuple):
    """Deviation of one curve from another on the same grid.

    Parameters
    ----------
    largest : float
        Largest absolute deviation, in units of the curve.
    error : float
        Standard error of the deviation there, from both curves.
    position : float
        Abscissa there.
    integrated : float
        Integral of the absolute deviation.
    noise : float
        What `integrated` would be on average if the curves differed by their errors alone.
    """

    largest: float
    error: float
    position: float
    integrated: float
    noise: float


def compare_curves(
    x: Array, first: Array, first_error: Array, second: Array, second_error: Array
) -> CurveDifference:
    """Compare two curves on one grid: largest and integrated deviation with error bars.

    The largest of many deviations is larger than a typical one even when the curves agree:
    two to three of its error bars are then expected.

    Parameters
    ----------
    x : (n,) array
        Equally spaced abscissa.
    first, second : (n,) arrays
        The curves.
    first_error, second_error : (n,) arrays
        Their standard errors; zeros for an exact curve.

    Returns
    -------
    CurveDifference

    Raises
    ------
    ValueError
        If the arrays differ in shape or a curve is not finite.
    """
    curves = [np.asarray(a, float) for a in (x, first, first_error, second, second_error)]
    if len({a.shape for a in curves}) != 1 or curves[0].ndim != 1 or len(curves[0]) < 2:
        shapes = [a.shape for a in curves]
        raise ValueError(f"curves on one grid of two or more points are expected; found {shapes}")
    if not (np.isfinite(curves[1]).all() and np.isfinite(curves[3]).all()):
        raise ValueError("a curve holds values that are not finite")
    difference = np.abs(curves[1] - curves[3])
    errors = np.hypot(curves[2], curves[4])
    at = int(np.argmax(difference))
    width = curves[0][1] - curves[0][0]
    return CurveDifference(
        largest=float(difference[at]),
        error=float(errors[at]),
        position=float(curves[0][at]),
        integrated=float(difference.sum() * width),
        noise=float(np.sqrt(2 / np.pi) * errors.sum() * width),
    )
