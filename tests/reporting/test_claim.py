from typing import Any

import pytest

from intervox.reporting.claim import claim, verdicts
from tests.reporting.test_tables import bare_metrics
from tests.support.metrics import probed, sample_metrics


def eer(value: float, low: float, high: float) -> dict[str, Any]:
    return {"clean": {"different_text": {"eer": value, "eer_interval": [low, high]}}}


def outcome(metrics: dict[str, Any], space: str, factor: str) -> str:
    found = {(v.space, v.factor): v.outcome for v in verdicts(metrics, "people")}
    return found[space, factor]


@pytest.fixture
def clean() -> dict[str, Any]:
    """Two spaces that know their own factor and nothing of the other's."""
    return {
        "spaces": {"speaker": "speaker", "content": "content"},
        "protocols": {"people": {"clips": 100, "speakers": 10}},
        "verification": {
            "people": {"speaker": eer(0.05, 0.03, 0.07), "content": eer(0.49, 0.47, 0.51)},
        },
        "separation": {
            "people": {
                "matrix": {
                    "speaker": {"speaker": probed(0.9, 0.1), "content": probed(0.11, 0.1)},
                    "content": {"speaker": probed(0.11, 0.1), "content": probed(0.95, 0.1)},
                }
            }
        },
        "baselines": {},
    }


def test_separated_is_what_no_probe_and_no_trial_finds(clean: dict[str, Any]) -> None:
    assert [v.outcome for v in verdicts(clean, "people")] == ["separated"] * 2
    assert claim(clean).headline.startswith("Separated on human speech: in none of 2 cases")


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(0.13, "separated"), (0.15, "partly"), (0.32, "partly"), (0.33, "not"), (0.91, "not")],
)
def test_the_worse_probe_decides(clean: dict[str, Any], accuracy: float, expected: str) -> None:
    """Shuffled labels reach 0.12, a probe's interval is 0.02 wide each way; 0.325 is a quarter of the way."""
    matrix = clean["separation"]["people"]["matrix"]
    matrix["content"]["speaker"] = probed(0.11, 0.1, mlp=accuracy)
    assert outcome(clean, "speaker", "content") == expected
    assert outcome(clean, "content", "speaker") == "separated"


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((0.48, 0.46, 0.5), "separated"), ((0.48, 0.46, 0.49), "partly"), ((0.39, 0.35, 0.45), "not")],
)
def test_a_silent_probe_does_not_excuse_an_error_rate(
    clean: dict[str, Any], rates: tuple[float, float, float], expected: str
) -> None:
    clean["verification"]["people"]["content"] = eer(*rates)
    assert outcome(clean, "content", "speaker") == expected


def test_an_empty_space_is_not_called_separated(clean: dict[str, Any]) -> None:
    clean["verification"]["people"]["speaker"] = eer(0.5, 0.45, 0.55)
    clean["separation"]["people"]["matrix"]["speaker"]["speaker"] = probed(0.1, 0.1)
    assert outcome(clean, "speaker", "content") == "void"
    said = claim(clean)
    assert said.headline.startswith(
        "Partly separated on human speech: of 2 cases, 1 is separated and 1 is void"
    )
    assert any("does not know its own factor" in sentence for sentence in said.sentences)
    clean["separation"]["people"]["matrix"]["content"]["speaker"] = probed(0.9, 0.1)
    assert outcome(clean, "speaker", "content") == "not"


def test_keywords_stand_in_for_a_matrix(clean: dict[str, Any]) -> None:
    del clean["separation"]
    for low, expected in ((0.08, "separated"), (0.15, "partly"), (0.6, "not")):
        words = {"chance": 0.1, "probe": low + 0.02, "probe_interval": [low, low + 0.04]}
        clean["keywords"] = {"people": {"speaker": {"clean": words}}}
        assert outcome(clean, "speaker", "content") == expected


def test_synthetic_speech_alone_claims_nothing() -> None:
    metrics = sample_metrics()
    metrics["protocols"] = {"synthetic": metrics["protocols"]["synthetic"]}
    said = claim(metrics)
    assert said.headline == "Nothing is claimed: no human speech was tested."
    assert said.sentences == ["Only synthetic speech was tested."]


def test_the_quickstart_says_what_is_worse_too() -> None:
    said = claim(sample_metrics())
    text = " ".join(said.sentences)
    assert said.headline == (
        "Partly separated on human speech: of 5 cases, 3 are partly separated and 2 are not separated."
    )
    assert "librispeech (10 speakers, 100 clips)" in text
    assert "EER of 1.4 % [1.2, 1.6], below LDA (2.2 % [1.9, 2.5]), the best raw layer (10.7 %" in text
    assert "but not below LDA (10.5 %" in text
    assert "0.88 from LDA, 0.73 from the best raw layer (chosen on this very test)" in text
    assert "the speaker subspace is not separated from content (linear probe 0.91" in text
    assert "synthetic" not in text


def test_one_space_and_no_probe_claim_no_separation() -> None:
    said = claim(bare_metrics())
    assert said.verdicts == []
    assert said.headline.startswith("Nothing is claimed of separation")
    assert said.sentences[1] == "On calls the embedding subspace has an EER of 20.5 % [17.4, 23.0]."
