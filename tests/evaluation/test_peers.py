import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.clips.source import Recordings
from intervox.errors import IntervoxError
from intervox.evaluation.baselines import peers as resemblyzer
from intervox.evaluation.baselines.peers import (
    ABOUT_PEERS,
    PEERS,
    CallableEncoder,
    Resemblyzer,
    load_peer,
    partial_starts,
    peer_representation,
)
from intervox.features.extraction import extract
from intervox.metrics.vectors import unit
from intervox.recipe import FeatureSettings
from intervox.reporting.wording import representation_title
from tests.conftest import Speech


def levels(waves: Sequence[Waveform]) -> list[list[float]]:
    """Embed a clip as its level and its length."""
    return [[float(np.abs(wave).mean()), len(wave) / 16_000, 0.0] for wave in waves]


@pytest.fixture(scope="module")
def peer() -> Resemblyzer:
    pytest.importorskip("_webrtcvad", reason="the extra peers is not installed")
    return Resemblyzer()


def test_every_peer_says_what_it_is_and_has_its_name_in_tables() -> None:
    assert set(ABOUT_PEERS) == set(PEERS)
    assert "VoxCeleb" in ABOUT_PEERS["resemblyzer"]
    assert representation_title("resemblyzer.speaker", ["speaker"]) == "Resemblyzer"
    assert representation_title("leace.speaker", ["speaker"]) == "LEACE"


@pytest.mark.long
@pytest.mark.slow
def test_resemblyzer_agrees_with_its_package(
    peer: Resemblyzer, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = types.ModuleType("pkg_resources")
    monkeypatch.setattr(
        stand_in, "get_distribution", lambda name: types.SimpleNamespace(version="2"), raising=False
    )
    monkeypatch.setitem(sys.modules, "pkg_resources", stand_in)
    package = pytest.importorskip("resemblyzer", reason="the extra peers is not installed")
    silence = np.zeros(16_000, np.float32)
    clips = [
        speech(0.4, 1),
        speech(1.6, 2),
        speech(3.7, 3),
        0.01 * speech(2.0, 4),
        np.concatenate([speech(1.5, 5), silence + 1e-4, speech(1.5, 6)]),
    ]
    encoder = package.VoiceEncoder("cpu", verbose=False)
    expected = [encoder.embed_utterance(package.preprocess_wav(clip)) for clip in clips]
    means, frames = peer.encode(clips)
    np.testing.assert_allclose(means[:, 0], expected, atol=1e-5)
    assert means.shape == (5, 1, 256)
    assert frames.min() >= 1
    for samples in (400, 25_600, 30_000, 37_000, 38_000, 100_000):
        slices = encoder.compute_partial_slices(samples, 1.3, 0.75)[1]
        assert partial_starts(samples) == [part.start for part in slices]


def test_noise_and_very_short_clips_have_vectors(peer: Resemblyzer) -> None:
    random = np.random.default_rng(0)
    noise = [random.normal(size=size).astype(np.float32) * 0.1 for size in (400, 481, 16_000)]
    together = peer.encode(noise)[0]
    np.testing.assert_allclose(np.linalg.norm(together[:, 0], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[2:], peer.encode(noise[2:])[0], atol=1e-5)


def test_resemblyzer_tells_human_speakers_apart(peer: Resemblyzer, corpora: Path) -> None:
    speakers = sorted((corpora / "librispeech" / "test-other").iterdir())[:3]
    paths = [path for speaker in speakers for path in sorted(speaker.glob("**/*.flac"))[:2]]
    clips = [clip.wave for clip in Recordings(paths).load_shard(0)]
    vectors = peer.encode([clip for clip in clips if clip is not None])[0][:, 0]
    scores = vectors @ vectors.T
    same = [scores[0, 1], scores[2, 3], scores[4, 5]]
    scores[[0, 1, 2, 3, 4, 5], [1, 0, 3, 2, 5, 4]] = 0
    np.fill_diagonal(scores, 0)
    assert min(same) > scores.max()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, peer: Resemblyzer) -> None:
    monkeypatch.setattr(resemblyzer, "SHA256", "0" * 64)
    with pytest.raises(IntervoxError, match="sha256 differs"):
        Resemblyzer()


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblyzer, "find_spec", lambda name: None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[peers\]"):
        load_peer("resemblyzer")
    with pytest.raises(IntervoxError, match="there is no peer 'xvector': choose from resemblyzer"):
        load_peer("xvector")


def test_any_function_is_cached_like_a_backbone(tmp_path: Path, wav: Path) -> None:
    calls = 0

    def counted(waves: Sequence[Waveform]) -> list[list[float]]:
        nonlocal calls
        calls += 1
        return levels(waves)

    source = Recordings([wav, wav, wav])
    settings = FeatureSettings()
    for fingerprint, expected in (("v1", 1), ("v1", 1), ("v2", 2), (None, 3), (None, 4)):
        encoder = CallableEncoder(counted, "levels", 3, fingerprint)
        features = extract(source, encoder, settings, tmp_path / "features")
        assert calls == expected
    assert features.rows().shape == (3, 1, 3)
    assert features.about["backbone"] == "levels"
    whole = peer_representation(encoder)
    assert whole.name == "levels.speaker"
    vectors: NDArray[np.float32] = whole.embed(features.rows())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_clip_that_fails_is_kept_as_one(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    encoder = CallableEncoder(levels, "levels", 3, "v1")
    features = extract(Recordings([broken]), encoder, FeatureSettings(max_failures=1), tmp_path / "features")
    assert list(features.errors) == [0]
    assert features.frames.tolist() == [0]


def test_wrong_vectors_are_refused(speech: Speech) -> None:
    clips = [speech(0.5, 0), speech(0.7, 1)]
    one = CallableEncoder(lambda wave: levels([wave])[0], "one", 3, batched=False)
    np.testing.assert_allclose(one.encode(clips)[0][:, 0], unit(np.array(levels(clips))), rtol=1e-6)
    loud = CallableEncoder(lambda waves: 1e9 * np.array(levels(waves)), "loud", 3)
    np.testing.assert_allclose(loud.encode(clips)[0], one.encode(clips)[0], rtol=1e-5)
    with pytest.raises(IntervoxError, match=r"gave vectors of shape \(2, 3\) for 2 clips: make it \(2, 4\)"):
        CallableEncoder(levels, "levels", 4).encode(clips)
    with pytest.raises(IntervoxError, match="NaN or infinite"):
        CallableEncoder(lambda waves: [[np.nan]] * len(waves), "nan", 1).encode(clips)
