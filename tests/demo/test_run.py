"""The demo end to end on argon: killed, resumed, reported."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from huozi.cli.main import app
from huozi.demo import DemoConfig, Display, run_demo
from huozi.demo.page import demo_page
from huozi.dynamics.observables import analyse
from huozi.potential import evaluate, load_model
from huozi.systems import read, write
from huozi.workflow import RunFolder
from tests.demo.conftest import cluster

CONFIG = DemoConfig(train_budget=4, picoseconds=1, temperature=30)
COMMAND = [sys.executable, "-c", "from huozi.cli.main import main; main()"]


def start(out, data):
    options = ["--train-budget", "4s", "--picoseconds", "1", "--temperature", "30"]
    arguments = ["demo", "--data", str(data), "--out", str(out), *options]
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, env=os.environ)


@pytest.fixture(scope="module")
def demo(tmp_path_factory, crystal_file):
    """A demo killed in the middle of its simulation, then finished."""
    out = tmp_path_factory.mktemp("demo") / "run"
    process = start(out, crystal_file)
    deadline = time.monotonic() + 300
    while not (out / "nvt" / "thermo.csv").exists():
        assert process.poll() is None, "the demo ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = list(RunFolder(out / "train").events("validation"))
    lines: list[str] = []
    result = run_demo(out, [crystal_file], CONFIG, Display(lines.append))
    return result, lines, before


def test_a_killed_demo_resumes_and_repeats_nothing(demo):
    result, _, before = demo
    out = result.report.parent
    assert list(RunFolder(out / "train").events("validation")) == before
    assert len(list(RunFolder(out / "nvt").events("finished"))) == 1
    assert len(list(RunFolder(out / "nve").events("start"))) == 1


def test_each_stage_says_one_line(demo):
    _, lines, _ = demo
    stages = [line.split()[0] for line in lines]
    assert stages == ["data", "training", "test", "NVT", "NVE", "analysis", "report"]
    assert all("\n" not in line for line in lines)


def test_the_numbers_are_those_of_the_parts(demo):
    result, _, _ = demo
    out, numbers = result.report.parent, result.numbers
    assert json.loads((out / "results.json").read_text()) == numbers
    metrics = evaluate(load_model(out / "train"), read(out / "data" / "test.extxyz"))
    assert numbers["test"]["force_rmse_mev_per_A"] == metrics.force_rmse_mev_per_A
    assert numbers["constant_temperature"]["time_ps"] == pytest.approx(1.0, abs=0.01)
    assert numbers["constant_temperature"]["skipped_ps"] == 0.1
    assert numbers["constant_energy"]["ps"] == 0.8
    temperature = numbers["constant_temperature"]["temperature_K"]
    assert temperature["value"] == pytest.approx(30, rel=0.3)


def test_the_report_shows_what_was_promised(demo):
    result, _, _ = demo
    page = result.report.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Accuracy of the potential",
        "The simulation",
        "Energy conservation",
        "Structure",
        "Motion",
        "All numbers of the simulation",
        "What it cost",
        "How to reproduce",
        "What to keep in mind",
    ]
    assert "<h1>Ar32, 1 ps at 30 K</h1>" in page
    assert page.count('class="plot"') >= 9
    assert 'class="viewer"' in page
    assert "2·10⁸ core hours" in page
    assert "the story's figure" in page
    rmse = result.numbers["test"]["force_rmse_mev_per_A"]
    assert f"{rmse:.1f} meV/Å" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page asks nothing of the network"
    assert "nan" not in re.sub(r"<svg.*?</svg>|<script.*?</script>", "", page, flags=re.DOTALL)


def test_the_commands_of_the_report_find_their_work_done(demo):
    """The demo is what the verbs do: run in its folder they have nothing left to do."""
    result, _, _ = demo
    page = result.report.read_text()
    block = re.search(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    commands = [shlex.split(line)[1:] for line in block[1].splitlines() if line[:5] == "huozi"]
    verbs = [command[0] for command in commands]
    assert verbs == ["demo", "train", "test", "md", "md", "analyse"]
    for command in commands[1:]:
        done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        if command[0] == "train":
            assert found["steps"] == result.numbers["training"]["steps"]
        elif command[0] == "test":
            assert found == result.numbers["test"]
        elif command[0] == "md":
            assert found["steps_done_now"] == 0
        else:
            expected = result.numbers["constant_temperature"]
            assert found["radial_distribution"] == expected["radial_distribution"]


def test_another_demo_in_the_same_folder_is_refused(demo, crystal_file):
    out = demo[0].report.parent
    with pytest.raises(ValueError, match=r"holds another run \(temperature 30.0, now 50.0\)"):
        run_demo(out, [crystal_file], CONFIG.model_copy(update={"temperature": 50.0}))
    with pytest.raises(ValueError, match=r"holds another run \(data"):
        run_demo(out, None, CONFIG)


def test_data_in_the_folder_are_not_replaced(tmp_path, crystal_file):
    (tmp_path / "data").mkdir()
    own = tmp_path / "data" / "train.extxyz"
    own.write_bytes(crystal_file.read_bytes())
    with pytest.raises(ValueError, match="exists and is of no demo"):
        run_demo(tmp_path, [own], CONFIG)
    assert own.read_bytes() == crystal_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_command_prints_one_object(demo, crystal_file):
    result, _, _ = demo
    arguments = ["demo", "--data", str(crystal_file), "--out", str(result.report.parent), "--json"]
    options = ["--train-budget", "4s", "--picoseconds", "1", "--temperature", "30"]
    done = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout)
    assert numbers["test"] == result.numbers["test"]
    assert numbers["constant_temperature"] == result.numbers["constant_temperature"]
    assert numbers["seconds"]["training"] == result.numbers["seconds"]["training"]


def test_the_table_of_the_readme_is_made_from_the_results(demo):
    script = Path(__file__).parents[2] / "docs" / "readme_table.py"
    made = runpy.run_path(str(script))
    numbers = json.loads((demo[0].report.parent / "results.json").read_text())
    for words in (made["ENGLISH"], made["CHINESE"]):
        table = made["table"](numbers, words)
        assert f"{numbers['test']['force_rmse_mev_per_A']:.1f} meV/Å" in table
        assert "huozi demo --data DATA --train-budget 4 --picoseconds 1 --temperature 30" in table
        assert all(line.count("|") == 3 for line in table.split("\n\n")[0].splitlines())


def test_an_open_system_has_a_report_without_structure(demo, tmp_path):
    """A cluster has no density, so no g(r) and no reference; everything else is there."""
    write(cluster(20, 3), tmp_path / "cluster.xyz")
    story = replace(demo[0].story, analysis=analyse(tmp_path / "cluster.xyz", time_step=8.0))
    page = demo_page(story).html()
    assert "<h2>Structure</h2>" not in page
    assert "the system is not periodic" in page
    assert "<h1>Ar32" in page


def test_bad_settings_leave_nothing_behind(tmp_path):
    arguments = ["demo", "--out", str(tmp_path / "run"), "--train-budget", "soon"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, ValueError)
    assert "not a duration: 'soon'" in str(done.exception)
    assert not (tmp_path / "run").exists()
