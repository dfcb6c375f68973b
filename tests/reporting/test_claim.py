import json
from typing import Any

import numpy as np
import pytest

from intervox.evaluation.results import Metrics
from intervox.evaluation.separation import factor_data, separation_matrix
from intervox.metrics.vectors import Vectors, unit
from intervox.reporting.claim import claim
from intervox.reporting.separation_tables import kept_table
from intervox.reporting.verdicts import verdicts
from tests.reporting.test_tables import bare_metrics
from tests.support.clips import grid
from tests.support.metrics import probed, sample_metrics


def eer(value: float, low: float, high: float) -> dict[str, Any]:
    trials = {"targets": 100, "impostors": 900, "min_dcf": {}, "min_cllr": 0.5}
    return {"clean": {"different_text": {"eer": value, "eer_interval": [low, high], **trials}}}


def outcome(metrics: dict[str, Any], space: str, factor: str) -> str:
    found = {(v.space, v.factor): v.outcome for v in verdicts(Metrics.model_validate(metrics), "people")}
    return found[space, factor]


@pytest.fixture
def clean() -> dict[str, Any]:
    """Two spaces that know their own factor and nothing of the other's; raw layers know 0.8 and 38 points."""
    raw = {"raw": probed(0.92, 0.1)}
    return {
        "spaces": {"speaker": "speaker", "content": "content"},
        "recipe": "r",
        "seed": 0,
        "protocols": {
            "people": dict.fromkeys(("clips", "failed", "speakers", "contents", "hours"), 10)
            | {"languages": [], "licence": ""}
        },
        "verification": {
            "people": {
                "speaker": eer(0.05, 0.03, 0.07),
                "content": eer(0.49, 0.48, 0.51),
                "raw": {
                    "mean": eer(0.3, 0.28, 0.32),
                    "best_layer": {},
                    "layers": {"1": eer(0.1, 0.08, 0.12)},
                },
            },
        },
        "separation": {
            "people": {
                "matrix": {
                    "speaker": {"speaker": probed(0.9, 0.1), "content": probed(0.11, 0.1)} | raw,
                    "content": {"speaker": probed(0.11, 0.1), "content": probed(0.95, 0.1)} | raw,
                }
            }
        },
        "baselines": {},
    }


def test_separated_is_what_no_probe_and_no_trial_finds(clean: dict[str, Any]) -> None:
    assert [v.outcome for v in verdicts(Metrics.model_validate(clean), "people")] == ["separated"] * 2
    assert claim(Metrics.model_validate(clean)).headline.startswith(
        "Separated on human speech: in each of 2 cases"
    )


def test_the_headline_says_first_what_is_kept(clean: dict[str, Any]) -> None:
    other = json.loads(json.dumps(clean["separation"]["people"]))
    clean["separation"]["others"] = other
    clean["protocols"]["others"] = clean["protocols"]["people"]
    shares = {
        "speaker": {"speaker": (0.91, 1.04), "content": (0.12, -0.01)},
        "content": {"content": (0.8, 0.8)},
    }
    for factor, spaces in shares.items():
        for space, values in spaces.items():
            for protocol, share in zip(("people", "others"), values, strict=True):
                clean["separation"][protocol]["matrix"][factor][space]["kept"] = {"share": share}
    metrics = Metrics.model_validate(clean)
    assert claim(metrics).headline.startswith(
        "Of what the raw model knows, the speaker subspace keeps 91 to 104 % of the speaker; the content "
        "subspace keeps 80 % of the content and 0 to 12 % of the speaker. Separated on human speech"
    )
    table = kept_table(metrics)
    assert table.header == ["protocol", "speaker: speaker", "content: speaker", "content: content"]
    assert table.rows == [["people", "91.0", "12.0", "80.0"], ["others", "104.0", "-1.0", "80.0"]]


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0.16, "separated"), (0.17, "partly"), (0.30, "partly"), (0.31, "not"), (0.91, "not")],
)
def test_the_worse_probe_decides(clean: dict[str, Any], accuracy: float, expected: str) -> None:
    """A probe's interval is 0.02 wide each way; raw's knows 0.80 at least, of which 0.08 is a tenth."""
    matrix = clean["separation"]["people"]["matrix"]
    matrix["content"]["speaker"] = probed(0.11, 0.1, mlp=accuracy)
    assert outcome(clean, "speaker", "content") == expected
    assert outcome(clean, "content", "speaker") == "separated"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((0.48, 0.47, 0.5), "separated"),
        ((0.53, 0.47, 0.58), "separated"),
        ((0.48, 0.45, 0.51), "not shown"),
        ((0.42, 0.40, 0.49), "partly"),
        ((0.39, 0.35, 0.45), "not"),
    ],
)
def test_a_silent_probe_does_not_excuse_an_error_rate(
    clean: dict[str, Any], rates: tuple[float, float, float], expected: str
) -> None:
    """Raw layers verify at 12 % at worst: 38 points, of which 3.8 are a tenth."""
    clean["verification"]["people"]["content"] = eer(*rates)
    assert outcome(clean, "content", "speaker") == expected


def test_few_clips_show_nothing_and_say_how_many_would(clean: dict[str, Any]) -> None:
    """A probe at 0.64 beside shuffled labels of up to 0.40 was once called separated."""
    cell = probed(0.64, 0.2)
    for kind in ("linear", "mlp"):
        cell[kind] |= {"interval": [0.24, 1.0], "shuffled_interval": [0.0, 0.4]}
    clean["separation"]["people"]["matrix"]["content"]["speaker"] = cell | {"clips": 100}
    (found,) = (v for v in verdicts(Metrics.model_validate(clean), "people") if v.space == "speaker")
    assert found.outcome == "not shown"
    # Half of the interval is 0.38, the limit a tenth of 0.80: (0.38 / 0.08) ** 2 times as many.
    assert found.evidence[0] == (
        "linear probe 0.64 [0.24, 1.00], shuffled 0.20 [0.00, 0.40], raw 0.92 [0.90, 0.94]: "
        "100 clips cannot tell, about 2,300 could"
    )
    del clean["separation"]["people"]["matrix"]["speaker"]
    clean["verification"]["people"]["content"] = eer(0.5, 0.5, 0.5)
    content = clean["verification"]["people"]["content"]["clean"]["different_text"]
    content["eer_interval"] = "too few groups"
    said = claim(Metrics.model_validate(clean))
    assert said.headline == (
        "Not shown to be separated on human speech: of 2 cases, 2 are not shown to be separated."
    )
    assert "EER 50.0 % [too few groups]" in said.verdicts[-1].evidence[0]


def test_where_raw_layers_know_nothing_nothing_is_shown(clean: dict[str, Any]) -> None:
    matrix = clean["separation"]["people"]["matrix"]
    matrix["content"]["raw"] = probed(0.11, 0.1)
    assert outcome(clean, "speaker", "content") == "not shown"
    matrix["content"]["raw"] = probed(1.0, 0.1)
    for kind in ("linear", "mlp"):
        matrix["content"]["raw"][kind]["interval"] = "all resamples equal"
    assert outcome(clean, "speaker", "content") == "separated"
    del matrix["content"]["raw"]
    assert outcome(clean, "speaker", "content") == "not shown"


def planted(contents: int, repeats: int, leak: float) -> dict[str, Any]:
    """Measure vectors in which what the speaker subspace knows of the words is known."""
    clips = grid(12, contents, repeats)
    random = np.random.default_rng(0)

    def code(factor: str) -> Vectors:
        names, number = np.unique(clips.labels[factor], return_inverse=True)
        return np.asarray(random.normal(size=(len(names), 16))[number], np.float32)

    who, what = code("speaker"), code("content")
    noise = random.normal(size=who.shape)
    spaces = {
        "speaker": unit(who + 0.5 * noise + leak * what),
        "raw": unit(np.hstack([who, what])),
    }
    data = {"content": factor_data(clips, {"clean": spaces})["content"]}
    cells = separation_matrix(data, 100, seeds=1)["content"]
    return {space: cell.model_dump(mode="json") for space, cell in cells.items()}


@pytest.mark.parametrize(
    ("repeats", "leak", "expected"),
    [(20, 0.0, "separated"), (1, 0.0, "not shown"), (20, 0.12, "partly"), (20, 1.0, "not")],
)
def test_planted_vectors(clean: dict[str, Any], repeats: int, leak: float, expected: str) -> None:
    clean["separation"]["people"]["matrix"]["content"] = planted(5, repeats, leak)
    assert outcome(clean, "speaker", "content") == expected


def test_an_empty_space_is_not_called_separated(clean: dict[str, Any]) -> None:
    clean["verification"]["people"]["speaker"] = eer(0.5, 0.45, 0.55)
    clean["separation"]["people"]["matrix"]["speaker"]["speaker"] = probed(0.1, 0.1)
    assert outcome(clean, "speaker", "content") == "void"
    said = claim(Metrics.model_validate(clean))
    assert said.headline.startswith(
        "Partly separated on human speech: of 2 cases, 1 is separated and 1 is void"
    )
    assert any("is not shown to know its own factor" in piece for v in said.verdicts for piece in v.evidence)
    clean["separation"]["people"]["matrix"]["content"]["speaker"] = probed(0.9, 0.1)
    assert outcome(clean, "speaker", "content") == "not"


def test_a_space_whose_own_factor_a_protocol_cannot_test_is_judged_by_the_others(
    clean: dict[str, Any],
) -> None:
    clean["protocols"]["others"] = clean["protocols"]["people"]
    clean["separation"]["others"] = {"matrix": dict(clean["separation"]["people"]["matrix"])}
    del clean["separation"]["people"]["matrix"]["content"]
    assert outcome(clean, "content", "speaker") == "separated"
    clean["separation"]["others"]["matrix"]["content"] = {
        "content": probed(0.1, 0.1),
        "raw": probed(0.92, 0.1),
    }
    assert outcome(clean, "content", "speaker") == "void"
    del clean["separation"]["others"]
    assert outcome(clean, "content", "speaker") == "void"


def test_keywords_stand_in_for_a_matrix(clean: dict[str, Any]) -> None:
    del clean["separation"]
    raw = {"clean": {"chance": 0.1, "probe": 0.92, "probe_interval": [0.9, 0.94]}}
    for low, expected in ((0.08, "separated"), (0.15, "partly"), (0.6, "not")):
        words = {"chance": 0.1, "probe": low + 0.02, "probe_interval": [low, low + 0.04]}
        clean["keywords"] = {
            "people": {
                "speaker": {"clean": words},
                "raw": {"mean": {"clean": words}, "best_layer": {}, "layers": {"0": raw}},
            }
        }
        assert outcome(clean, "speaker", "content") == expected


def test_synthetic_speech_alone_claims_nothing() -> None:
    metrics = sample_metrics()
    metrics["protocols"] = {"synthetic": metrics["protocols"]["synthetic"]}
    said = claim(Metrics.model_validate(metrics))
    assert said.headline == "Nothing is claimed: no human speech was tested."
    assert said.tested == "Only synthetic speech was tested."


def against(clean: tuple[float, float] | str, degraded: tuple[float, float] | None = None) -> dict[str, Any]:
    """A paired difference of a baseline, and the same degraded."""
    found = {"difference": 0.0, "interval": clean}
    return found | ({"cross_condition": {"difference": 0.0, "interval": degraded}} if degraded else {})


def test_the_paired_intervals_say_where_a_baseline_is_better() -> None:
    metrics = sample_metrics()
    metrics["baselines"]["lda"]["against"] = {
        "librispeech": against((0.01, 0.03), (0.02, 0.04)),
        "speech_commands": against((-0.02, 0.01), (0.01, 0.02)),
        "fsdd": against("too few groups"),
        "synthetic": against((-0.2, -0.1)),
    }
    assert claim(Metrics.model_validate(metrics)).speakers == (
        "The speaker subspace has an equal error rate of 1.4 to 20.5 %. Against LDA it is better on 1 and "
        "undecided on 2 of 3 test sets; with every clip degraded it is better on 2 of 2 test sets."
    )


def test_the_quickstart_says_what_is_worse_too() -> None:
    said = claim(Metrics.model_validate(sample_metrics()))
    assert said.headline == (
        "Partly separated on human speech: of 5 cases, 3 are partly separated and 2 are not separated."
    )
    assert "librispeech (10 speakers, 100 clips)" in said.tested
    assert "synthetic" not in said.tested
    assert said.words == (
        "Given one example of each word, the content subspace mistakes 11.9 to 14.6 % of the words of unseen "
        "speakers, LDA 12.4 to 14.2 %, best raw layer 22.0 to 26.6 % and mean of raw layers 22.0 to 26.6 %."
    )


def test_one_space_and_no_probe_claim_no_separation() -> None:
    said = claim(bare_metrics())
    assert said.verdicts == []
    assert said.headline.startswith("Nothing is claimed of separation")
    assert said.speakers == "The embedding subspace has an equal error rate of 20.5 %."
    assert said.words == ""
