"""Features of clips with every frame: what is written, what is read, and what a kill leaves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from intervox.audio import Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.source import Clip, ClipSource
from intervox.errors import IntervoxError
from intervox.features import extraction
from intervox.features.encoding import clip_frames, layer_means
from intervox.features.extraction import extract
from intervox.features.store import Features, write_features
from intervox.recipe import FeatureSettings
from intervox.storage import growing_npy, write_json

SECONDS = (0.5, 1.2, 0.0, 0.3, 1.0)
"""Of the clips; the third can't be read."""

SETTINGS = FeatureSettings(window_seconds=0.5, batch_seconds=1.0, max_failures=1)


class Ramp(Backbone):
    """A frame every 100 ms; layer 0 is the clip's value, layer 1 the frame's number in its window."""

    name, fingerprint, layers, dim = "ramp", "ramp", 2, 3

    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        counts = [len(wave) // 1600 for wave in waves]
        states = torch.full((len(waves), 2, max(counts), 3), 99.0)
        for i, wave in enumerate(waves):
            states[i, 0, : counts[i]] = float(wave[0])
            states[i, 1, : counts[i]] = torch.arange(counts[i])[:, None].float()
        return HiddenStates(states, torch.tensor(counts))


class Levels(ClipSource):
    """Clip i is constantly i + 1; two clips a shard."""

    key = "levels"
    clip_count = len(SECONDS)
    shard_count = 3

    def __init__(self) -> None:
        self.loads: list[int] = []

    def load_shard(self, index: int) -> list[Clip]:
        self.loads.append(index)
        clips = range(2 * index, min(2 * index + 2, len(SECONDS)))
        return [self._clip(i) for i in clips]

    def _clip(self, i: int) -> Clip:
        if not SECONDS[i]:
            return Clip(i, None, "broken")
        return Clip(i, np.full(round(SECONDS[i] * 16_000), i + 1, np.float32))


def kept(folder: Path) -> Features:
    return extract(Levels(), Ramp(), SETTINGS, folder, frames=True)


def test_frames_lie_beside_the_means_in_the_order_of_the_clips(tmp_path: Path) -> None:
    features = kept(tmp_path)
    assert features.has_frames
    assert features.frames.tolist() == [5, 12, 0, 3, 10]
    states, mask = features.states(np.array([1, 4, 2, 0]))
    assert states.dtype == np.float32
    assert states.shape == (4, 12, 2, 3)
    assert mask.sum(axis=1).tolist() == [12, 10, 0, 5]
    assert (states[~mask] == 0).all()
    # 1.2 s are three windows of four frames.
    assert states[0, :, 1, 0].tolist() == [0, 1, 2, 3] * 3
    assert states[:, :, 0, 0].max(axis=1).tolist() == [2, 5, 0, 1]
    means = features.rows(np.array([1, 4, 2, 0]))
    average = states.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None, None]
    np.testing.assert_allclose(means, average, atol=2e-3)
    shard = np.load(tmp_path / "frames-00000.npy", mmap_mode="r")
    assert (shard.shape, shard.dtype) == ((17, 2, 3), np.float16)


def test_a_crop_is_a_stretch_that_is_drawn(tmp_path: Path) -> None:
    features = kept(tmp_path)
    first, mask = features.states(np.array([3, 4]), crop=4)
    assert mask.tolist() == [[True] * 3 + [False], [True] * 4]
    assert first[1, :, 1, 0].tolist() == [0, 1, 2, 3]
    whole = features.states(np.array([4]))[0][0, :, 1, 0].tolist()
    starts = set()
    for seed in range(40):
        drawn = features.states(np.array([4]), crop=6, random=np.random.default_rng(seed))[0][0, :, 1, 0]
        starts |= {at for at in range(5) if drawn.tolist() == whole[at : at + 6]}
    assert starts == set(range(5))


def test_batches_hold_a_bounded_number_of_padded_frames(tmp_path: Path) -> None:
    features = kept(tmp_path)
    rows = np.array([4, 0, 3, 1, 2, 0])
    parts = [part.tolist() for part in features.batches(rows, numbers=15 * 6)]
    assert sorted(place for part in parts for place in part) == [0, 1, 2, 3, 4, 5]
    counts = [features.frames[rows[part]] for part in parts]
    assert [len(part) * max(part) for part in counts] == [15, 5, 10, 12]


def test_frames_and_means_are_of_one_pass(tmp_path: Path) -> None:
    waves = [clip.wave for i in range(3) for clip in Levels().load_shard(i) if clip.wave is not None]
    frames = list(clip_frames(Ramp(), waves, SETTINGS))
    means, counts = layer_means(Ramp(), waves, SETTINGS)
    assert [len(clip) for clip in frames] == counts.tolist()
    np.testing.assert_allclose([clip.mean(axis=0) for clip in frames], means, rtol=1e-6)


def test_a_shard_without_its_means_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, *arguments: object) -> None:
        if "00001" in path.name:
            raise KeyboardInterrupt
        write_features(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(extraction, "write_features", killed)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path)
    assert (tmp_path / "frames-00001.npy").exists()
    monkeypatch.undo()
    source = Levels()
    features = extract(source, Ramp(), SETTINGS, tmp_path, frames=True)
    assert sorted(source.loads) == [1, 2]  # at once, where there are cores
    assert features.states(np.array([3]))[0][0, :, 0, 0].tolist() == [4.0] * 3


def test_a_killed_writer_leaves_no_frames(tmp_path: Path) -> None:
    def write() -> None:
        with growing_npy(tmp_path / "frames.npy", (2, 3), np.float16) as append:
            append(np.ones((4, 2, 3), np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not list(tmp_path.iterdir())


def test_features_without_frames_say_how_to_get_them(tmp_path: Path) -> None:
    features = extract(Levels(), Ramp(), SETTINGS, tmp_path)
    assert not features.has_frames
    assert not list(tmp_path.glob("frames-*"))
    with pytest.raises(IntervoxError, match="of ramp were kept without frames.*run `intervox extract`"):
        features.states(np.array([0]))
    again = extract(Levels(), Ramp(), SETTINGS, tmp_path, frames=True)
    assert again.has_frames
    # What was kept stays, for whoever asks for means alone.
    made = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert extract(Levels(), Ramp(), SETTINGS, tmp_path).has_frames
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == made
    assert again.about["key"] == features.about["key"]


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    kept(tmp_path)
    (tmp_path / "frames-00001.npy").write_bytes(b"no array")
    with pytest.raises(IntervoxError, match="frames-00001.npy is damaged or missing"):
        Features(tmp_path)


def test_means_stay_in_the_mapped_files(tmp_path: Path) -> None:
    count, shape = 300, (2, 64)
    means = np.ones((count, *shape), np.float32)
    write_features(
        tmp_path / "shard-00000.arrow", list(range(count)), means, np.ones(count, np.int64), [None] * count
    )
    about = {"key": "k", "backbone": "b", "fingerprint": "f", "window_seconds": 4.0, "frames": False}
    write_json(tmp_path / "features.json", about | {"layers": shape[0], "dim": shape[1], "clips": count})
    before = pa.total_allocated_bytes()
    features = Features(tmp_path)
    # What Arrow allocated since can't hold the means, 2 bytes a number: they are read where they lie.
    assert pa.total_allocated_bytes() - before < means.size
    assert (features.rows(np.array([7, 299])) == 1).all()
