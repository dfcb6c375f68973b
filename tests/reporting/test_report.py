"""The report: what it holds, what it leaves out, and that it works in a real browser."""

import re
from pathlib import Path

import pytest

from intervox.evaluation.results import Metrics
from intervox.reporting.drawings import reliability_drawings, severity_drawings
from intervox.reporting.report import PAGE_BYTES, MapSource, write_report
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
  const head = table.tHead.rows[0].cells[1];
  for (let click = 0; click < 2; click++) {
    head.querySelector("button").click();
    found.sorted.push(head.getAttribute("aria-sort"));
    const rows = [...table.tBodies[0].rows].slice(1);
    found.orders.push(rows.map(row => row.cells[1].textContent.trim()));
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
    write_report(
        folder / "report.html", Metrics.model_validate(sample_metrics()), [MapSource("fsdd", clips, vectors)]
    )
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text()


def test_the_charts_come_first_and_the_contents_lead_everywhere(page: str) -> None:
    assert page.index('id="errors"') < page.index('class="bars"') < page.index("<nav")
    targets = re.findall(r'<a href="#([^"]+)"', page[page.index("<nav") :])
    assert targets == [
        *("verdicts", "tested", "verification", "keywords", "separation", "baselines", "severity"),
        *("calibration", "det", "maps", "worst"),
    ]
    assert all(f'id="{target}"' in page for target in targets)


def test_what_comes_before_the_contents_is_short(page: str) -> None:
    opening = page[page.index("<main>") : page.index("<nav")]
    paragraphs = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<p\b[^>]*>(.*?)</p>", opening)]
    assert len(paragraphs) <= 6
    assert max(map(len, paragraphs)) < 400


def test_the_error_rates_stand_on_one_scale(page: str) -> None:
    assert page.count('class="panel"') == 5
    speakers = page[page.index("Telling speakers apart") : page.index("Recognising words")]
    assert set(re.findall(r"<span>(\d+) %</span>", speakers)) == {"50"}
    # Of fsdd: an EER of 20.5 % on a scale that ends at 50 %.
    assert '<i style="width: 41.00%">' in speakers
    assert "6 speakers, 54,500 trials" in speakers


def test_the_page_needs_nothing_but_its_trials(run: Path, page: str) -> None:
    links = set(re.findall(r'(?:href|src)="([^"#][^"]*)"', page))
    files = {link for link in links if not link.startswith("data:")}
    assert files == {"trials/fsdd-clean.parquet", "trials/fsdd-cross_condition.parquet"}
    assert all((run / file).is_file() for file in files)
    assert len(page.encode()) <= PAGE_BYTES


def test_the_worst_errors_can_be_heard_and_name_their_licence(page: str) -> None:
    assert page.count("<audio") == 12
    worst = page[page.index('id="worst"') :]
    assert "licence: CC BY-SA 4.0" in worst
    assert len(set(re.findall(r"s\d\d-w\d-\d\.wav", worst))) > 3


def test_the_maps_name_their_dots(page: str) -> None:
    maps = page[page.index('id="maps"') : page.index('id="worst"')]
    assert maps.count("<svg") == 4
    assert "<title>s03: w1</title>" in maps


def test_the_open_set_has_its_curves_beside_those_of_voices(page: str) -> None:
    det = page[page.index('id="det"') : page.index('id="maps"')]
    fsdd = det[det.index("<summary>fsdd") :]
    fsdd = fsdd[: fsdd.index("</details>")]
    captions = [caption.strip() for caption in re.findall(r"<figcaption>([^<]+)<", fsdd)]
    open_set = "Keywords: open set, clean clips."
    assert captions == [
        "Speakers: DET curves. Dashed: every clip degraded.",
        open_set,
        "Speakers: scores of clean clips.",
    ]
    drawn = fsdd[fsdd.index("Dashed") : fsdd.index(open_set)]
    assert all(f"{name}</text>" in drawn for name in ("content subspace", "raw, layer 1"))


def test_every_figure_says_what_it_shows(page: str) -> None:
    drawings = re.findall(r"<svg\b[^>]*>", page)
    labels = [re.search(r'aria-label="([^"]+)"', drawing) for drawing in drawings]
    assert all(labels)
    severity = page[page.index('id="severity"') : page.index('id="calibration"')]
    assert (
        "EER of the speaker subspace on fsdd from the lowest to the highest severity: noise 20.5 to"
        in severity
    )


def test_severities_share_a_scale_and_claim_bands_only_where_there_are_some(tmp_path: Path) -> None:
    metrics = sample_metrics()
    curves = metrics["severity"]["fsdd"]["speaker"]
    for rate in curves["noise"].values():
        rate["eer_interval"] = "too few groups"
    drawn = severity_drawings(Metrics.model_validate(metrics), "speaker")
    assert "Bands" in drawn["librispeech"].caption
    assert "Bands" not in drawn["fsdd"].caption
    tops = {max(map(int, re.findall(r">(\d+)</text>", drawing.svg))) for drawing in drawn.values()}
    assert len(tops) == 1


def test_two_points_are_no_curve() -> None:
    metrics = sample_metrics()
    for curves in metrics["severity"]["fsdd"]["speaker"].values():
        for severity in ("0.25", "0.50", "0.75"):
            del curves[severity]
    bins = metrics["calibration"]["fsdd"]["speaker"]["bins"]
    metrics["calibration"]["fsdd"]["speaker"]["bins"] = bins[:2]
    found = Metrics.model_validate(metrics)
    assert "fsdd" not in severity_drawings(found, "speaker")
    assert "fsdd" not in reliability_drawings(found)
    assert "librispeech" in reliability_drawings(found)


def test_recordings_can_be_left_out(run: Path, tmp_path: Path) -> None:
    (tmp_path / "trials").symlink_to(run / "trials")
    write_report(tmp_path / "report.html", Metrics.model_validate(sample_metrics()), embed_audio=False)
    page = (tmp_path / "report.html").read_text()
    assert "<audio" not in page
    assert "holds no recordings" in page
    assert 'id="maps"' not in page


def test_a_page_says_only_what_was_measured(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", bare_metrics())
    page = (tmp_path / "report.html").read_text()
    assert "Nothing is claimed of separation" in page
    sections = re.findall(r'<h2 id="([^"]+)"', page)
    assert sections == ["errors", "tested", "verification"]


def test_names_are_escaped(tmp_path: Path) -> None:
    text = bare_metrics().model_dump_json(by_alias=True).replace("calls", "<script>alert(1)</script>")
    metrics = Metrics.model_validate_json(text)
    write_report(tmp_path / "report.html", metrics)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_in_a_browser(page: str, tmp_path: Path) -> None:
    found, log = in_browser(page.encode(), SCRIPT, tmp_path)
    assert found, log
    assert found["overflow"] == {"390": 0, "1280": 0}
    assert found["sorted"] == ["ascending", "descending"]
    rising, falling = ([float(cell.split()[0]) for cell in order] for order in found["orders"])
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert len(found["durations"]) == 12
    assert all(0.4 < duration < 0.7 for duration in found["durations"])
    assert "CONSOLE" not in log
