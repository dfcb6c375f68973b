from pathlib import Path

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.keywords import probe_accuracy, shot_accuracies, shot_resamples, spot_keywords
from intervox.evaluation.protocols import find_protocols
from intervox.evaluation.representations import unit


def labelled(speakers: int, contents: int, repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    grid = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    return np.array([s for s, _ in grid]), np.array([c for _, c in grid])


def test_keywords_across_speakers() -> None:
    random = np.random.default_rng(0)
    who, what = labelled(12, 6, repeats=4)
    word, voice = random.normal(size=(6, 20)), random.normal(size=(12, 20))
    clear = unit(word[what] + 0.1 * random.normal(size=(len(what), 20)))
    assert probe_accuracy(clear, what, who) == 1
    assert np.mean(shot_accuracies(clear, what, who, 1, 20, 0)) == pytest.approx(1, abs=0.01)
    only_voice = unit(voice[who] + 0.1 * random.normal(size=(len(who), 20)))
    assert probe_accuracy(only_voice, what, who) < 0.35
    assert np.mean(shot_accuracies(only_voice, what, who, 1, 50, 0)) == pytest.approx(1 / 6, abs=0.05)
    mixed = unit(word[what] + 1.5 * voice[who] + 0.1 * random.normal(size=(len(who), 20)))
    result = spot_keywords(mixed, what, who, 50, 0, probe=False)
    assert result["shot_1"]["accuracy"] < result["shot_5"]["accuracy"]
    assert shot_accuracies(clear, what, who, 1000, 5, 0) == []
    value, resamples = shot_resamples(mixed, what, who, 50, 100, 0)
    assert value == pytest.approx(np.mean(shot_accuracies(mixed, what, who, 1, 50, 0)), abs=0.01)
    assert resamples.min() < value < resamples.max()


def test_protocol_readers_on_trees_of_the_real_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "librispeech/test-other/1688/1688-142285-0000.flac",
        "librispeech/test-other/1688/1688-142285-0001.flac",
        "librispeech/test-other/1998/15444/1998-15444-0001.flac",
        "speech_commands/yes/0a7c2a8d_nohash_0.wav",
        "speech_commands/yes/0a7c2a8d_nohash_1.wav",
        "speech_commands/no/1b4c9b89_nohash_0.wav",
        "speech_commands/_background_noise_/running_tap.wav",
        "fsdd/recordings/7_jackson_32.wav",
        "fsdd/recordings/7_jackson_33.wav",
        "fsdd/recordings/0_theo_1.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_text(
        "path,speaker,content,session\na.wav,ann,hello,1\nb.wav,ann,,1\nc.wav,bob,hello,2\n",
        encoding="utf-8-sig",
    )
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    found = {p.name: p for p in find_protocols(("auto",))}
    rows = {name: [(row.speaker, row.content) for row in p.rows] for name, p in found.items()}
    assert rows == {
        "librispeech": [
            ("1688", "1688-142285-0000"),
            ("1688", "1688-142285-0001"),
            ("1998", "1998-15444-0001"),
        ],
        "speech_commands": [("1b4c9b89", "no"), ("0a7c2a8d", "yes"), ("0a7c2a8d", "yes")],
        "fsdd": [("theo", "0"), ("jackson", "7"), ("jackson", "7")],
        "mine": [("ann", "hello"), ("ann", "unknown: b.wav"), ("bob", "hello")],
    }
    assert found["mine"].rows[0].path == tmp_path / "mine" / "a.wav"
    with pytest.raises(IntervoxError, match=r"'absent' has no recordings.*INTERVOX_DATA"):
        find_protocols(("absent",))
    for text, complaint in (
        ("path,who\na.wav,ann\n", "lacks the columns content, speaker"),
        ("path,speaker,content\na.wav\n", "recording 1: path and speaker must not be empty"),
        ("path,speaker,content\na.wav,ann,x\nb.wav,ann,y\n", "at least two speakers"),
    ):
        (tmp_path / "mine" / "manifest.csv").write_text(text)
        with pytest.raises(IntervoxError, match=complaint):
            find_protocols(("mine",))
    with pytest.raises(IntervoxError, match="give the name of a folder"):
        find_protocols(("../mine",))
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(IntervoxError, match="INTERVOX_DATA is .*nowhere, which is not a folder"):
        find_protocols(("auto",))


def test_the_human_corpora_have_the_documented_sizes(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERVOX_DATA", str(corpora))
    sizes = {
        p.name: (len(p.rows), len({row.speaker for row in p.rows}), len({row.content for row in p.rows}))
        for p in find_protocols(("auto",))
    }
    assert sizes == {
        "librispeech": (100, 10, 100),
        "speech_commands": (3927, 457, 12),
        "fsdd": (3000, 6, 10),
    }
