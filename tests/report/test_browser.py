"""The viewer in a real browser; skipped where there is none."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ase.build import molecule

from huozi.report import Page
from huozi.report.viewer import viewer_data
from tests.report.test_page import decode

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

PROBE = """<script>
const faults = [];
window.addEventListener("error", (event) => faults.push(event.message));
window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 5);
window.addEventListener("load", () => {
  const canvas = document.querySelector("canvas");
  const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
  const data = JSON.parse(document.querySelector("figure.viewer script").textContent);
  document.querySelector("button").click();
  const before = canvas.toDataURL();
  const slider = document.querySelector("input");
  slider.value = 1;
  slider.dispatchEvent(new Event("input"));
  key("ArrowLeft");
  key("+");
  key(".");
  setTimeout(() => {
    const result = {
      positions: Array.from(decodeTrajectory(data)),
      clock: document.querySelector("output").value,
      changed: before !== canvas.toDataURL(),
      faults,
    };
    document.body.dataset.result = JSON.stringify(result);
  }, 300);
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium to show the page in")
def test_the_viewer_decodes_draws_and_answers(tmp_path):
    frames = [molecule("H2O", cell=[5, 6, 7], pbc=True) for _ in range(4)]
    for index, atoms in enumerate(frames):
        atoms.positions += 2.5 + 0.1 * index
    path = Page("Water").add_viewer(frames, time_step=0.5).write(tmp_path / "page.html")
    path.write_text(path.read_text().replace("<body>", "<body>" + PROBE))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'data-result="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    result = json.loads(found[1].replace("&quot;", '"'))
    assert result["faults"] == []
    assert result["clock"] == "1.00 ps"
    assert result["changed"]
    decoded = np.reshape(result["positions"], (4, 3, 3))
    np.testing.assert_allclose(decoded, decode(viewer_data(frames)), atol=1e-5)
    np.testing.assert_allclose(decoded, [a.positions for a in frames], atol=1e-3)
