import numpy as np
import pytest

from huozi.dynamics import read_thermo
from huozi.dynamics.log import cut_lines
from huozi.dynamics.thermo import append_thermo, thermo_columns
from huozi.units import AMU_A3_GCM3, GPA

ROWS = np.array([[0, -1.0, 0.5, -0.4, 300.0, 0.01, 1000.0], [10, -1.5, 1.0, -0.4, 310, 0.02, 990]])


def test_columns_and_units():
    step, time, u, k, total, conserved, t, p, density, volume = thermo_columns(
        ROWS, 0.5, 18.0, True
    )[1]
    assert (step, time, u, k, total, conserved, t, volume) == (10, 5, -1.5, 1, -0.5, -0.4, 310, 990)
    assert p == pytest.approx(0.02 * GPA)
    assert density == pytest.approx(18 / 990 * AMU_A3_GCM3)
    assert np.isnan(thermo_columns(ROWS, 0.5, 18.0, False)[:, 7:]).all()


def test_the_log_can_be_cut_and_forgives_a_half_line(tmp_path):
    path = tmp_path / "thermo.csv"
    append_thermo(path, thermo_columns(ROWS, 0.5, 18.0, True))
    with path.open("a") as stream:
        stream.write("20,10.0,-1.")
    assert read_thermo(tmp_path)["step"].tolist() == [0, 10]
    cut_lines(path, 5)
    assert read_thermo(path)["potential_eV"].tolist() == [-1.0]
    cut_lines(path, -1)
    assert read_thermo(path)["step"].size == 0


def test_another_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no thermodynamic log at"):
        read_thermo(tmp_path)
    (tmp_path / "thermo.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not a log of huozi md; its first line is 'a,b'"):
        read_thermo(tmp_path)
