import numpy as np
import pytest

from huozi import report

X = np.linspace(0.01, 6, 50)
BAND = (X, np.exp(-((X - 1) ** 2) / 0.01) * 30 + 1, 0.1 * X)


def every_figure():
    rng = np.random.default_rng(0)
    time = np.linspace(0, 10, 9000)
    noise = rng.normal(size=9000)
    many = rng.normal(size=(50, 60, 3))
    yield report.parity_energies(rng.normal(-156, 0.01, 40), rng.normal(-156, 0.01, 40))
    yield report.parity_forces(many, many + rng.normal(0, 0.02, many.shape))
    yield report.learning_curve(
        {
            "Force RMSE (meV/Å)": {"validation": (X, 1 / X), "training": (X, 0.9 / X)},
            "Energy RMSE (meV/atom)": {"validation": (X, 1 / X)},
        }
    )
    yield report.energy_conservation(time, noise, 192, (0.01, 0.002))
    yield report.time_series(time, {"Temperature (K)": 300 + noise, "Pressure (GPa)": noise})
    yield report.radial_distributions(
        {"O-H": {"this run": BAND, "reference": BAND}, "O-O": {"a": BAND}}
    )
    yield report.mean_squared_displacements({"O": BAND}, {"O": (1.0, 5.0, 0.1, 0.2)})
    yield report.vibrational_spectrum({"all": BAND, "H": BAND})
    yield report.angle_distributions({"H-O-H": {"this run": BAND}})


def test_every_axis_has_a_name_and_every_figure_both_formats():
    for figure, again in zip(every_figure(), every_figure()):
        axes = [a for a in figure.axes if a.get_label() != "<colorbar>"]
        assert axes
        assert all(a.get_ylabel() for a in axes)
        assert axes[-1].get_xlabel()
        svg = report.figure_svg(figure)
        assert svg == report.figure_svg(again)
        assert report.figure_png(figure, dpi=40).startswith(b"\x89PNG")
        assert len(svg) < 600_000


def test_parity_names_the_errors_in_their_unit():
    figure = report.parity_forces(np.zeros((4, 3)), np.full((4, 3), 0.01))
    assert figure.axes[1].get_title(loc="left") == "RMSE 10, MAE 10 meV/Å"
    exact = report.parity_energies(np.zeros(3), np.zeros(3))
    assert "RMSE 0, MAE 0 meV/atom" in exact.axes[1].get_title(loc="left")


def test_hostile_arrays_are_refused():
    with pytest.raises(ValueError, match="two arrays of one shape"):
        report.parity_forces(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="two arrays of one shape"):
        report.parity_energies(np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match="finite"):
        report.parity_forces(np.zeros(3), np.array([0, np.nan, 0]))


def test_a_dwarfing_bond_peak_is_cut_and_its_height_written():
    figure = report.radial_distributions({"O-H": {"this run": BAND}})
    assert figure.axes[0].get_ylim()[1] == pytest.approx(2.5, rel=0.05)
    assert figure.axes[0].texts[0].get_text().startswith("↑ 3")


def test_thinning_a_long_series_keeps_its_extremes():
    values = np.zeros(50_000)
    values[[123, 40_321]] = 5, -7
    (line, *_) = report.energy_conservation(np.arange(50_000), values, 1).axes[0].lines
    assert len(line.get_ydata()) < 2000
    assert (line.get_ydata().max(), line.get_ydata().min()) == (5e3, -7e3)
