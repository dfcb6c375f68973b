"""The report: what it holds, what it leaves out, and that it works in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from intervox.reporting.report import MapSource, write_report
from tests.reporting.test_tables import bare_metrics
from tests.support.browser import BROWSER, in_browser
from tests.support.metrics import sample_metrics
from tests.support.trials import small_clips, small_vectors, write_small_trials

SCRIPT = """
frame.onload = async () => {
  const page = frame.contentDocument, found = {overflow: {}, durations: [], orders: [], sorted: []};
  for (const part of page.querySelectorAll("details")) part.open = true;
  for (const width of [390, 1280]) {
    frame.width = width;
    await new Promise(done => setTimeout(done, 200));
    found.overflow[width] = page.documentElement.scrollWidth - page.documentElement.clientWidth;
  }
  const table = page.querySelector("#table-speaker-verification ~ .scroll table");
  const head = table.tHead.rows[0].cells[2];
  for (let click = 0; click < 2; click++) {
    head.querySelector("button").click();
    found.sorted.push(head.getAttribute("aria-sort"));
    found.orders.push([...table.tBodies[0].rows].map(row => row.cells[2].textContent.trim()));
  }
  for (const audio of page.querySelectorAll("audio")) {
    await new Promise((done, fail) => { audio.oncanplay = done; audio.onerror = fail; audio.load(); });
    found.durations.push(audio.duration);
  }
  report(found);
};
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report with recordings, trials and maps of one human protocol."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "audio").mkdir()
    clips = small_clips(folder / "audio")
    write_small_trials(folder, clips, "fsdd", 1.0)
    vectors = {"speaker": small_vectors(clips, 1.0), "content": small_vectors(clips, 5.0)}
    write_report(folder / "report.html", sample_metrics(), [MapSource("fsdd", clips, vectors)])
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text()


def test_the_claim_comes_first_and_the_contents_lead_everywhere(page: str) -> None:
    assert page.index('class="claim"') < page.index("<nav") < page.index("<table")
    targets = re.findall(r'<a href="#([^"]+)"', page)
    assert targets == [
        *("verdicts", "tested", "verification", "keywords", "separation", "baselines", "severity"),
        *("calibration", "det", "maps", "worst"),
    ]
    assert all(f'id="{target}"' in page for target in targets)


def test_the_page_needs_nothing_but_its_trials(run: Path, page: str) -> None:
    links = set(re.findall(r'(?:href|src)="([^"#][^"]*)"', page))
    files = {link for link in links if not link.startswith("data:")}
    assert files == {"trials/fsdd-clean.parquet", "trials/fsdd-cross_condition.parquet"}
    assert all((run / file).is_file() for file in files)
    assert len(page) < 6_000_000


def test_the_worst_errors_can_be_heard_and_name_their_licence(page: str) -> None:
    assert page.count("<audio") == 20
    worst = page[page.index('id="worst"') :]
    assert "licence: CC BY-SA 4.0" in worst
    assert len(set(re.findall(r"s\d\d-w\d-\d\.wav", worst))) > 5


def test_the_maps_name_their_dots(page: str) -> None:
    maps = page[page.index('id="maps"') : page.index('id="worst"')]
    assert maps.count("<svg") == 4
    assert "<title>s03: w1</title>" in maps


def test_the_open_set_has_its_curves_beside_those_of_voices(page: str) -> None:
    det = page[page.index('id="det"') : page.index('id="maps"')]
    fsdd = det[det.index("<summary>fsdd") :]
    captions = re.findall(r"<figcaption>([^<]+?)\s*<", fsdd)
    open_set = "Open set, clean."
    assert captions == ["DET, clean.", "DET, cross-condition.", open_set, "Scores, clean."]
    drawn = fsdd[fsdd.index("DET, cross-condition.") : fsdd.index(open_set)]
    assert all(f"{name}</text>" in drawn for name in ("content subspace", "raw, layer 1"))


def test_recordings_can_be_left_out(run: Path, tmp_path: Path) -> None:
    (tmp_path / "trials").symlink_to(run / "trials")
    write_report(tmp_path / "report.html", sample_metrics(), embed_audio=False)
    page = (tmp_path / "report.html").read_text()
    assert "<audio" not in page
    assert "holds no recordings" in page
    assert 'id="maps"' not in page


def test_a_page_says_only_what_was_measured(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", bare_metrics())
    page = (tmp_path / "report.html").read_text()
    assert "Nothing is claimed of separation" in page
    sections = re.findall(r'<h2 id="([^"]+)"', page)
    assert sections == ["tested", "verification"]


def test_names_are_escaped(tmp_path: Path) -> None:
    text = json.dumps(bare_metrics()).replace("calls", "<script>alert(1)</script>")
    metrics: dict[str, Any] = json.loads(text)
    write_report(tmp_path / "report.html", metrics)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_in_a_browser(page: str, tmp_path: Path) -> None:
    found, log = in_browser(page.encode(), SCRIPT, tmp_path)
    assert found, log
    assert found["overflow"] == {"390": 0, "1280": 0}
    assert found["sorted"] == ["ascending", "descending"]
    rising, falling = ([float(cell.split()[0]) for cell in order] for order in found["orders"])
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert len(found["durations"]) == 20
    assert all(0.4 < duration < 0.7 for duration in found["durations"])
    assert "CONSOLE" not in log
