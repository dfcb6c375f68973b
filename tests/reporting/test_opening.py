"""What a report opens with: the shares kept and the error rates, as figures and as pictures."""

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from intervox.evaluation.results import Metrics
from intervox.reporting.opening import common_scale, kept_bars, kept_picture, speaker_panels, word_panels
from tests.reporting.test_tables import bare_metrics
from tests.support.metrics import sample_metrics


def with_kept(metrics: dict[str, Any]) -> Metrics:
    """Add shares kept on two protocols of people and on the synthetic one."""
    shares = {
        ("speaker", "speaker"): (1.1, 0.9),
        ("speaker", "content"): (0.1, 0.3),
        ("content", "content"): (1.0, 1.0),
        ("content", "speaker"): (0.8, -0.1),
    }
    for (factor, space), values in shares.items():
        for protocol, share in zip(("speech_commands", "fsdd"), values, strict=True):
            bounds = "too few groups" if protocol == "fsdd" else [share - 0.1, share + 0.25]
            cell = metrics["separation"][protocol]["matrix"][factor][space]
            cell["kept"] = {"share": share, "interval": bounds}
        metrics["separation"]["synthetic"]["matrix"][factor][space]["kept"] = {"share": 7.0}
    return Metrics.model_validate(metrics)


def test_bars_are_means_over_people_with_the_own_subspace_first() -> None:
    bars = kept_bars(with_kept(sample_metrics()))
    assert list(bars) == ["speaker", "content"]
    assert [bar.title for bar in bars["content"]] == ["content subspace", "speaker subspace"]
    own, other = bars["speaker"]
    assert own.mean == pytest.approx(1.0)
    assert (own.spread, other.spread) == ("90 to 110 %", "10 to 30 %")
    assert bars["content"][1].spread == "0 to 80 %"
    assert own.marks[0].words == "110.0 % [100.0, 135.0]"
    assert own.marks[1].bounds is None


def test_without_people_the_synthetic_set_is_drawn_and_named() -> None:
    metrics = sample_metrics()
    found = with_kept(metrics)
    metrics["protocols"] = {"synthetic": metrics["protocols"]["synthetic"]}
    alone = Metrics.model_validate(metrics)
    assert kept_bars(alone)["speaker"][0].mean == 7.0
    assert "on synthetic speech." in kept_picture(alone, alone=True)
    assert "on human recordings." in kept_picture(found, alone=True)


@pytest.mark.parametrize("alone", [False, True])
def test_the_picture_is_whole_and_says_what_it_shows(alone: bool) -> None:
    drawn = kept_picture(with_kept(sample_metrics()), alone)
    root = ElementTree.fromstring(drawn)
    space = "{http://www.w3.org/2000/svg}"
    label = root.attrib["aria-label"]
    assert label.startswith(
        "Of what the raw model knows: of the speaker, the speaker subspace keeps 90 to 110 %"
    )
    # Two factors, each with the raw model and two subspaces; two dots a subspace.
    bars = [one for one in root.iter(f"{space}rect") if "bar" in one.attrib["class"]]
    assert len(bars) == 6
    assert len(list(root.iter(f"{space}circle"))) == 8
    *_, width, _ = map(float, root.attrib["viewBox"].split())
    ends = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in bars]
    assert max(ends) < width
    raw, own, other = (float(bar.attrib["width"]) for bar in bars[:3])
    assert own == pytest.approx(raw)
    assert other == pytest.approx(0.2 * raw, abs=0.1)
    assert ("prefers-color-scheme: dark" in drawn) == alone


def test_nothing_probed_draws_nothing() -> None:
    assert kept_picture(bare_metrics()) == ""


def test_panels_have_ours_first_and_the_raw_layers_beside() -> None:
    metrics = sample_metrics()
    metrics["baselines"]["resemblyzer"] = metrics["baselines"]["lda"]
    found = Metrics.model_validate(metrics)
    panels = {panel.protocol: panel for panel in speaker_panels(found)}
    assert list(panels) == ["librispeech", "speech_commands", "fsdd"]
    bars = panels["librispeech"].bars
    titles = ["speaker subspace", "Resemblyzer", "LDA", "best raw layer", "mean of raw layers"]
    assert [bar.title for bar in bars] == titles
    assert [bar.kind for bar in bars] == ["speaker", "resemblyzer", "lda", "raw", "raw"]
    assert {name: mark.value for name, mark in bars[0].rates.items()} == {
        "clean": 0.014,
        "cross_condition": 0.106,
    }
    # PCA is measured too, but stands in the tables alone.
    assert common_scale(panels.values()) == 0.5


def test_word_panels_turn_accuracies_into_errors() -> None:
    (panel, _) = word_panels(Metrics.model_validate(sample_metrics()))
    ours = panel.bars[0]
    assert (panel.protocol, panel.about) == ("speech_commands", "12 words, 457 speakers")
    assert ours.rates["clean"].value == pytest.approx(0.119)
    assert ours.rates["clean"].bounds == pytest.approx((0.089, 0.149))
