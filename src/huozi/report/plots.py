"""Figures, one function each; all return a matplotlib Figure with units on every axis.

A *curve* is a tuple (x, y) or (x, y, err) of arrays; the error is drawn as a band of two
standard errors either side (95 % confidence).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from huozi.report.style import BLUE, CYCLE, GREY, INK, ORANGE, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]
Curve = tuple[Array, ...]

MANY_POINTS = 2000
"""Above this number a parity plot shows the density of points instead of points."""


def parity_energies(reference: Array, predicted: Array) -> Figure:
    """Predicted against reference energies.

    Parameters
    ----------
    reference, predicted : (frames,) arrays
        Energy per atom, eV; shown in meV relative to the mean of the reference.
    """
    reference, predicted = np.asarray(reference, float), np.asarray(predicted, float)
    zero = reference.mean() if reference.size else 0.0
    return parity(
        (reference - zero) * 1e3, (predicted - zero) * 1e3, "energy minus mean", "meV/atom"
    )


def parity_forces(reference: Array, predicted: Array) -> Figure:
    """Predicted against reference force components.

    Parameters
    ----------
    reference, predicted : arrays of one shape
        Force components, eV/Å; the errors are given in meV/Å.
    """
    return parity(reference, predicted, "force", "eV/Å", error_unit="meV/Å", error_scale=1e3)


def parity(
    reference: Array,
    predicted: Array,
    quantity: str,
    unit: str,
    error_unit: str | None = None,
    error_scale: float = 1.0,
) -> Figure:
    """Predicted against reference values, with the distribution of the errors beside them.

    Parameters
    ----------
    reference, predicted : arrays of one shape
        In `unit`.
    quantity, unit : str
        Name the axes.
    error_unit : str, optional
        Unit of the errors, if it differs.
    error_scale : float
        One `unit` in `error_unit`.

    Raises
    ------
    ValueError
        If the arrays are empty, differ in shape or are not finite.
    """
    x, y = np.asarray(reference, float), np.asarray(predicted, float)
    if x.shape != y.shape or not x.size:
        raise ValueError(f"a parity plot needs two arrays of one shape; found {x.shape}, {y.shape}")
    x, y = x.ravel(), y.ravel()
    errors = (y - x) * error_scale
    if not np.isfinite(errors).all():
        raise ValueError("a parity plot needs finite numbers")
    with style():
        figure = new_figure(2, width=7.4, height=3.7)
        left, right = figure.axes
        ends = _padded(min(x.min(), y.min()), max(x.max(), y.max()))
        left.plot(ends, ends, color=GREY, linewidth=1)
        if x.size > MANY_POINTS:
            _density(left, x, y, ends)
        else:
            left.plot(x, y, "o", color=BLUE, markersize=3.5, alpha=0.6, markeredgewidth=0)
        left.set(xlim=ends, ylim=ends, aspect="equal")
        left.set(xlabel=f"Reference {quantity} ({unit})", ylabel=f"Predicted {quantity} ({unit})")
        _error_histogram(right, errors, error_unit or unit)
    return figure


def learning_curve(
    panels: Mapping[str, Mapping[str, Curve]], x_label: str = "Training time (s)"
) -> Figure:
    """Errors in the course of training, both axes logarithmic.

    Parameters
    ----------
    panels : mapping
        Axis label such as "Force RMSE (meV/Å)" to {"training": curve, "validation": curve}.
    x_label : str
        Of steps or seconds, with the unit; points at zero or below are left out.
    """
    with style():
        figure = new_figure(len(panels), width=1.2 + 3.2 * len(panels), height=3.4)
        for axes, (y_label, curves) in zip(figure.axes, panels.items()):
            for (name, curve), color in zip(_train_first(curves), (GREY, BLUE, *CYCLE[1:])):
                x, y = np.asarray(curve[0], float), np.asarray(curve[1], float)
                keep = (x > 0) & (y > 0)
                axes.plot(x[keep], y[keep], color=color, label=name)
            axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
            axes.grid(True, which="minor", alpha=0.1)
            _plain_log_ticks(axes)
            axes.legend()
    return figure


def energy_conservation(
    time: Array, energy: Array, atoms: int, drift: tuple[float, float] | None = None
) -> Figure:
    """Conserved energy in the course of a run.

    Parameters
    ----------
    time : (t,) array
        ps.
    energy : (t,) array
        Conserved energy, eV; shown in meV per atom relative to its start.
    atoms : int
        Number of atoms.
    drift : (float, float), optional
        Slope and its standard error, meV/atom/ps; drawn and named.
    """
    t, e = np.asarray(time, float), np.asarray(energy, float)
    change = (e - e[0]) / atoms * 1e3
    with style():
        figure = new_figure(height=2.9)
        (axes,) = figure.axes
        axes.plot(*_thinned(t, change), color=BLUE, linewidth=0.9, label="conserved energy")
        if drift is not None:
            line = change.mean() + drift[0] * (t - t.mean())
            text = f"drift {drift[0]:+.2g} ± {drift[1]:.1g} meV/atom/ps"
            axes.plot(t, line, color=ORANGE, linestyle="--", label=text)
        axes.set(xlabel="Time (ps)", ylabel="Energy − start (meV/atom)")
        axes.margins(x=0)
        axes.legend()
    return figure


def time_series(time: Array, series: Mapping[str, Array]) -> Figure:
    """Thermodynamic quantities in the course of a run, one above the other.

    Parameters
    ----------
    time : (t,) array
        ps.
    series : mapping
        Axis label with unit, e.g. "Temperature (K)", to a (t,) array; the mean is drawn too.
    """
    t = np.asarray(time, float)
    with style():
        figure = new_figure(1, len(series), height=0.7 + 1.5 * len(series))
        for axes, (label, values) in zip(figure.axes, series.items()):
            axes.plot(*_thinned(t, np.asarray(values, float)), color=BLUE, linewidth=0.7)
            axes.axhline(float(np.mean(values)), color=ORANGE, linestyle="--", linewidth=1.2)
            axes.set(ylabel=label)
            axes.margins(x=0)
            if axes is not figure.axes[-1]:
                axes.tick_params(labelbottom=False)
        figure.axes[-1].set(xlabel="Time (ps)")
    return figure


def radial_distributions(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Radial distribution functions, one panel a pair, with error bands.

    Parameters
    ----------
    panels : mapping
        Pair such as "O-O" to curves by name ({"this run": curve, "reference": curve}), r in Å.
        A bond's peak that dwarfs the rest is cut off and its height written beside it.
    """
    with style():
        figure = _panel_figure(len(panels))
        for axes, (pair, curves) in zip(figure.axes, panels.items()):
            axes.axhline(1, color=GREY, linewidth=0.8)
            _draw_curves(axes, curves)
            axes.set(xlabel="Distance (Å)", ylabel="g(r)", title=pair)
            axes.set_xlim(left=0)
            _cut_bond_peak(axes, next(iter(curves.values())))
        figure.axes[0].legend()
    return figure


def calibration_curve(deviation: Sequence[float], error: Sequence[float], scale: float) -> Figure:
    """Real error of the forces against the deviation of an ensemble.

    Parameters
    ----------
    deviation, error : sequences of one length
        Root mean squares of groups of atoms, meV/Å.
    scale : float
        Slope of the line to draw: error to be expected over deviation.
    """
    with style():
        figure = new_figure(height=3.4)
        (axes,) = figure.axes
        axes.plot(deviation, error, "o", color=BLUE, label="groups of atoms")
        ends = np.array([0.0, 1.05 * max(deviation)])
        axes.plot(ends, scale * ends, color=ORANGE, label=f"{scale:.2f} × deviation")
        axes.plot(ends, ends, color=GREY, linestyle="--", label="error = deviation")
        axes.set(xlabel="Deviation of the models (meV/Å)", ylabel="Error of the forces (meV/Å)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure


def mean_squared_displacements(
    curves: Mapping[str, Curve], fits: Mapping[str, tuple[float, float, float, float]]
) -> Figure:
    """Mean squared displacement with error bands, and the lines that were fitted to it.

    Parameters
    ----------
    curves : mapping
        Name such as an element to a curve, time in ps and MSD in Å^2.
    fits : mapping
        Of a curve to the line to draw: start and stop in ps, intercept in Å^2, slope in Å^2/ps.
    """
    with style():
        figure = new_figure(height=3.4)
        (axes,) = figure.axes
        _draw_curves(axes, curves, CYCLE)
        for number, (start, stop, intercept, slope) in enumerate(fits.values()):
            ends = np.array([start, stop])
            label = "" if number else "fit"
            axes.plot(ends, intercept + slope * ends, color=INK, linestyle="--", label=label)
        axes.set(xlabel="Time (ps)", ylabel="Mean squared displacement (Å²)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure


def vibrational_spectrum(curves: Mapping[str, Curve]) -> Figure:
    """Vibrational density of states with error bands.

    Parameters
    ----------
    curves : mapping
        Name such as an element to a curve: cm^-1, and degrees of freedom per cm^-1. The axis ends
        where 99.9 % of the first one lies below.
    """
    x, y = next(iter(curves.values()))[:2]
    share = np.cumsum(y) / max(np.sum(y), 1e-300)
    end = 1.08 * float(x[min(int(np.searchsorted(share, 0.999)), len(x) - 1)])
    with style():
        figure = new_figure(height=3.2)
        (axes,) = figure.axes
        _draw_curves(axes, curves, (GREY, *CYCLE))
        axes.set(xlabel="Wavenumber (cm⁻¹)", ylabel="Density of states (per cm⁻¹)")
        axes.set_xlim(0, end)
        axes.set_ylim(bottom=0)
        axes.legend()
    return figure


def angle_distributions(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Angle distributions, one panel a triplet, with error bands.

    Parameters
    ----------
    panels : mapping
        Triplet such as "H-O-H" to curves by name, angle in degrees.
    """
    with style():
        figure = _panel_figure(len(panels))
        for axes, (triplet, curves) in zip(figure.axes, panels.items()):
            _draw_curves(axes, curves)
            axes.set(xlabel="Angle (°)", ylabel="Probability (per degree)", title=triplet)
            axes.set_xlim(_occupied(curves))
            axes.set_ylim(bottom=0)
        figure.axes[0].legend()
    return figure


def _panel_figure(panels: int) -> Figure:
    """Up to three panels beside each other, more in further rows; unused axes removed."""
    columns = min(3, panels)
    rows = -(-panels // columns)
    figure = new_figure(columns, rows, width=(6.4, 7.4, 9.0)[columns - 1], height=0.4 + 2.7 * rows)
    for axes in figure.axes[panels:]:
        axes.remove()
    return figure


def _draw_curves(
    axes: Axes, curves: Mapping[str, Curve], colors: Sequence[str] = (BLUE, ORANGE, *CYCLE[2:])
) -> None:
    """Draw each curve; a second curve that is a reference is dashed."""
    for index, (name, (x, y, *error)) in enumerate(curves.items()):
        color = colors[index % len(colors)]
        dashed = "--" if "reference" in name.lower() else "-"
        axes.plot(x, y, color=color, linestyle=dashed, label=name)
        if error and np.isfinite(error[0]).any():
            band = 2 * np.nan_to_num(error[0])
            axes.fill_between(x, y - band, y + band, color=color, alpha=0.25, linewidth=0)


def _density(axes: Axes, x: Array, y: Array, ends: tuple[float, float]) -> None:
    """Draw the number of points per hexagon, on a logarithmic scale."""
    import matplotlib as mpl

    hexagons = axes.hexbin(
        x, y, gridsize=100, extent=(*ends, *ends), bins="log", mincnt=1, cmap="viridis"
    )
    hexagons.set(rasterized=True, linewidth=0.1)
    figure = axes.figure
    bar = figure.colorbar(hexagons, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("Points", fontsize=mpl.rcParams["legend.fontsize"])
    bar.outline.set_visible(False)


def _error_histogram(axes: Axes, errors: Array, unit: str) -> None:
    """Distribution of the errors with their root mean square and mean absolute value."""
    rmse, mae = np.sqrt(np.mean(errors**2)), np.mean(np.abs(errors))
    half = 4 * rmse or 1.0
    bins = int(np.clip(2 * np.sqrt(errors.size), 11, 61))
    axes.hist(np.clip(errors, -half, half), bins, range=(-half, half), color=BLUE, alpha=0.75)
    axes.set(xlabel=f"Error ({unit})", ylabel="Number", xlim=(-half, half))
    axes.set_title(f"RMSE {rmse:.3g}, MAE {mae:.3g} {unit}")


def _cut_bond_peak(axes: Axes, curve: Curve) -> None:
    """Limit the axis when a first, bonded peak dwarfs the rest, and write down its height."""
    r, g = curve[0], curve[1]
    peak = int(np.argmax(g))
    rest = g[r > r[peak] + 0.4]
    axes.set_ylim(bottom=0)
    if rest.size and g[peak] > 5 * rest.max() > 0:
        top = 2.5 * float(rest.max())
        axes.set_ylim(0, top)
        text = f"↑ {g[peak]:.3g} at {r[peak]:.2f} Å"
        axes.annotate(text, (r[peak] + 0.15, top * 0.97), fontsize=8, va="top")


def _occupied(curves: Mapping[str, Curve]) -> tuple[float, float]:
    """Return the part of the axis where any curve is above zero, with a margin."""
    x = np.concatenate([c[0][c[1] > 0] for c in curves.values()])
    return (max(0.0, x.min() - 5), min(180.0, x.max() + 5)) if x.size else (0.0, 180.0)


def _thinned(time: Array, values: Array, bins: int = 800) -> tuple[Array, Array]:
    """Keep the lowest and the highest of every bin of a long series: it looks the same."""
    size = len(values) // bins
    if size < 4:
        return time, values
    starts = np.arange(0, len(values) - size + 1, size)
    rows = values[: len(starts) * size].reshape(-1, size)
    kept = np.unique(np.concatenate([starts + rows.argmin(1), starts + rows.argmax(1)]))
    return time[kept], values[kept]


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _train_first(curves: Mapping[str, Curve]) -> list[tuple[str, Curve]]:
    return sorted(curves.items(), key=lambda item: not item[0].startswith("train"))


def _plain_log_ticks(axes: Axes) -> None:
    """Label a logarithmic axis 1, 10, 100 and, over short ranges, 2 and 5 between."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        subs = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
