"""Numbers with errors, for people."""

from __future__ import annotations

import math


def value_with_error(value: float, error: float | None = None) -> str:
    """Write a number to the digits its error allows: ``2.31 ± 0.12``.

    Parameters
    ----------
    value : float
    error : float, optional
        Standard error, shown to two digits; without one (or NaN) the number has four
        digits, with an error of zero six.
    """
    if error is None or not math.isfinite(error) or not math.isfinite(value):
        return f"{value:.4g}"
    if error <= 0:
        return f"{value:.6g}"
    digits = 1 - math.floor(math.log10(float(f"{error:.1e}")))
    if -3 <= -digits <= 4 or 0 <= digits <= 6:
        value, error = round(value, digits), round(error, digits)
        return f"{value:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"
    return f"{value:.{max(1, _figures(value, error))}e} ± {error:.1e}"


def _figures(value: float, error: float) -> int:
    """Decimals of the mantissa of `value` that its error allows."""
    if value == 0:
        return 1
    return math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 1
