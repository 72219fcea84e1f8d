import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from huozi.report import Page, radial_distributions
from huozi.report.viewer import viewer_data

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Checker(HTMLParser):
    """Tags balance, ids are unique, references resolve."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.refs, self.tags = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        for key in ("href", "xlink:href", "src"):
            if key in named:
                self.refs.append(named[key])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def water_box(frames=5, seed=0):
    rng = np.random.default_rng(seed)
    box = molecule("H2O", cell=[3.2, 3.3, 3.4], pbc=True) * (2, 2, 1)
    result = []
    for _ in range(frames):
        atoms = box.copy()
        atoms.positions += rng.normal([2.9, 0.1, -1.0], 0.05, (12, 3))
        atoms.wrap()
        result.append(atoms)
    return result


def test_atoms_are_numbered_by_their_elements():
    atoms = Atoms("Cu2OHO", positions=np.diag(np.arange(5.0))[:, :3])
    data = viewer_data([atoms])
    symbols = [data["elements"][kind]["symbol"] for kind in data["kinds"]]
    assert symbols == atoms.get_chemical_symbols()


def decode(data):
    packed = np.frombuffer(base64.b64decode(data["positions"]), "<i2").astype(float)
    return data["origin"] + data["scale"] * (packed.reshape(data["frames"], -1, 3) + 32768)


def full_page():
    r = np.linspace(0, 6, 60)
    figure = radial_distributions({"O-O": {"this run": (r, r, 0 * r)}})
    return (
        Page("Water <64> & more", "made by `huozi analyse`")
        .add_table(["Quantity", "Value"], [["a < b", "1.0 ± 0.1"]], "Numbers")
        .add_section("Structure", "One.\n\nTwo & three.")
        .add_figure(figure, "First.")
        .add_figure(figure, "Second, the same again.")
        .add_viewer(water_box(), "Water.", 0.01)
        .add_commands(["huozi md MODEL && echo '<done>'"])
        .add_details("Versions", "numpy < 3")
    )


def test_the_page_is_well_formed_and_asks_nothing_of_the_network(tmp_path):
    path = full_page().write(tmp_path / "deep" / "report.html")
    text = path.read_text(encoding="utf-8")
    page = Checker(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(ref.startswith(("#", "data:")) for ref in page.refs)
    assert {ref[1:] for ref in page.refs if ref.startswith("#")} <= set(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(page.ids)
    assert not re.search(r"https?:|//[a-z]+\.", text)
    assert "link" not in page.tags
    assert "Water &lt;64&gt; &amp; more" in text
    assert "&lt;done&gt;" in text
    assert "<code>huozi analyse</code>" in text
    assert "currentColor" in text
    assert list((tmp_path / "deep").iterdir()) == [path]


def test_a_large_figure_becomes_a_png(monkeypatch):
    monkeypatch.setattr("huozi.report.embed.LARGEST_SVG", 1000)
    assert 'src="data:image/png;base64,' in full_page().html()


def test_rows_must_fit_the_columns():
    with pytest.raises(ValueError, match="a row of 2 cells is expected"):
        Page("x").add_table(["a", "b"], [["1", "2", "3"]])


def test_viewer_data_decode_to_whole_molecules_at_the_same_places():
    frames = water_box()
    data = viewer_data(frames)
    positions = decode(data)
    for atoms, found in zip(frames, positions):
        shift = (found - atoms.positions) @ np.linalg.inv(atoms.cell.array)
        np.testing.assert_allclose(shift, np.round(shift), atol=2e-4)
        bonds = np.linalg.norm(
            found.reshape(-1, 3, 3)[:, 1:] - found.reshape(-1, 3, 3)[:, :1], axis=2
        )
        assert bonds.max() < 1.3
        centres = found.reshape(-1, 3, 3).mean(axis=1) / atoms.cell.lengths()
        assert -1e-3 < centres.min() <= centres.max() < 1.001
    assert [e["symbol"] for e in data["elements"]] == ["H", "O"]
    assert [data["elements"][k]["symbol"] for k in data["kinds"]] == frames[
        0
    ].get_chemical_symbols()
    assert len(data["cells"]) == 1


def test_crystals_open_systems_and_moving_cells():
    crystal = bulk("Cu", cubic=True) * (3, 3, 3)
    grown = crystal.copy()
    grown.set_cell(crystal.cell * 1.01, scale_atoms=True)
    data = viewer_data([crystal, grown])
    assert len(data["cells"]) == 2
    np.testing.assert_allclose(decode(data)[1], grown.positions, atol=1e-3)
    open_data = viewer_data([molecule("H2O")])
    assert open_data["cells"] == []
    np.testing.assert_allclose(decode(open_data)[0], molecule("H2O").positions, atol=1e-4)
    single = viewer_data([Atoms("He", cell=[3, 3, 3], pbc=True)])
    np.testing.assert_allclose(decode(single)[0], 0, atol=1e-6)


def test_two_hundred_frames_of_64_waters_stay_below_half_a_megabyte():
    box = molecule("H2O", cell=[3.1] * 3, pbc=True) * (4, 4, 4)
    assert len(json.dumps(viewer_data([box] * 200))) < 500_000


def test_hostile_frames_are_refused():
    water = molecule("H2O")
    with pytest.raises(ValueError, match="at least one frame"):
        viewer_data([])
    with pytest.raises(ValueError, match="frame 1 has other atoms"):
        viewer_data([water, molecule("NH3")])
    broken = water.copy()
    broken.positions[0] = np.inf
    with pytest.raises(ValueError, match="frame 0 has a position that is not finite"):
        viewer_data([broken])
