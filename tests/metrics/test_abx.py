from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.labels import Clips
from intervox.clips.source import Clip, ClipSource
from intervox.evaluation.representations import frame_embeddings, raw_frame_embeddings
from intervox.features.store import extract_frames
from intervox.metrics.abx import Grid, abx_error, draw_grids, dtw_distances
from intervox.metrics.vectors import unit
from intervox.model.model import SubspaceModel
from intervox.seeds import rng
from tests.support.intervals import ends


def naive(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Plain dynamic time warping with a walk back along the best path."""
    angles = np.arccos(np.clip(first @ second.T, -1, 1)) / np.pi
    n, m = angles.shape
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0
    for i in range(n):
        for j in range(m):
            cost[i + 1, j + 1] = angles[i, j] + min(cost[i, j], cost[i + 1, j], cost[i, j + 1])
    i, j, length = n, m, 1
    while (i, j) != (1, 1):
        both, second_ahead, first_ahead = cost[i - 1, j - 1], cost[i, j - 1], cost[i - 1, j]
        if both <= min(second_ahead, first_ahead):
            i, j = i - 1, j - 1
        elif second_ahead <= first_ahead:
            j -= 1
        else:
            i -= 1
        length += 1
    return float(cost[n, m] / length)


def test_dtw_agrees_with_the_plain_algorithm() -> None:
    random = np.random.default_rng(0)
    clips = [unit(random.normal(size=(size, 5))) for size in random.integers(1, 30, 24)]
    pairs = [(clips[i], clips[j]) for i in range(12) for j in range(12, 24)]
    expected = [naive(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs]
    assert dtw_distances(pairs) == pytest.approx(expected, abs=1e-5)


def test_dtw_by_hand() -> None:
    east, north, west = np.eye(2)[0], np.eye(2)[1], -np.eye(2)[0]
    slow, fast = np.stack([east, east, north]), np.stack([east, north])
    assert dtw_distances([(slow, fast)]) == pytest.approx([0], abs=1e-6)
    assert dtw_distances([(np.stack([east]), np.stack([west]))]) == pytest.approx([1])
    # east-east costs 0, west-north a half; two steps.
    assert dtw_distances([(np.stack([east, west]), fast)]) == pytest.approx([0.25])


def test_abx_by_hand() -> None:
    """Two speakers, two words, one frame each, as angles: speaker 1 says word 1 near word 0."""
    angles = {0: 0.0, 1: 90.0, 2: 10.0, 3: 40.0}
    frames = {clip: np.array([[np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))]]) for clip, a in angles.items()}
    grid = Grid(np.array(["s", "t"]), np.array([[0, 1], [2, 3]]))
    # X = 2: A = 0, B = 1, right. X = 3: A = 1 is 50 away, B = 0 is 40: wrong.
    # X = 0: A = 2, B = 3, right. X = 1: A = 3 is 50 away, B = 2 is 80: right.
    result = abx_error(frames, [grid], 100, rng(0, "abx.bootstrap"))
    assert result is not None
    assert (result.error, result.triples) == (0.25, 4)
    hole = Grid(grid.speakers, np.array([[0, 1], [2, -1]]))
    result = abx_error(frames, [hole], 100, rng(0, "abx.bootstrap"))
    assert result is not None
    # Left are X = 2 (A = 0, B = 1); nobody else has both words.
    assert (result.error, result.triples) == (0.0, 1)
    assert abx_error(frames, [], 10, rng(0, "abx.bootstrap")) is None


def clips_of(speakers: list[str], contents: list[str]) -> Clips:
    labels = {"speaker": np.array(speakers), "content": np.array(contents)}
    empty = np.full(len(speakers), "")
    return Clips(empty, labels, np.zeros(len(speakers)), empty)


def test_known_spaces_have_known_errors() -> None:
    random = np.random.default_rng(0)
    cells = [(s, c) for s in range(6) for c in range(5)]
    clips = clips_of([f"s{s}" for s, _ in cells], [f"c{c}" for _, c in cells])
    grids = draw_grids(clips.speakers, clips.contents, rng(0, "abx.grids"))
    words, voices = random.normal(size=(5, 6, 8)), random.normal(size=(6, 1, 8))
    noise = [0.05 * random.normal(size=(6, 8)) for _ in cells]
    errors = {}
    for name, word, voice in (("words", 1.0, 0.0), ("both", 1.0, 1.5), ("voices", 0.0, 1.0)):
        found = {i: unit(word * words[c] + voice * voices[s] + noise[i]) for i, (s, c) in enumerate(cells)}
        result = abx_error(found, grids, 100, rng(0, "abx.bootstrap"))
        assert result is not None
        assert result.triples == 6 * 5 * 5 * 4
        if name == "words":
            assert result.interval == "all resamples equal"
        else:
            low, high = ends(result.interval)
            assert low <= result.error <= high
        errors[name] = result.error
    assert errors["words"] == 0
    assert 0 < errors["both"] < errors["voices"]
    assert errors["voices"] == pytest.approx(0.5, abs=0.12)


def test_grids_are_crossed_and_share_no_clip() -> None:
    random = np.random.default_rng(0)
    clips = clips_of(
        [f"s{i}" for i in random.integers(40, size=900)], [f"c{i}" for i in random.integers(12, size=900)]
    )
    grids = draw_grids(clips.speakers, clips.contents, rng(0, "abx.grids"))
    used = np.concatenate([grid.clips[grid.clips >= 0] for grid in grids])
    assert len(grids) == 3
    assert len(np.unique(used)) == len(used) > 100
    for grid in grids:
        for speaker, row in zip(grid.speakers, grid.clips, strict=True):
            assert set(clips.speakers[row[row >= 0]]) == {speaker}
        for column in grid.clips.T:
            assert len(set(clips.contents[column[column >= 0]])) == 1
    assert draw_grids(np.array(list("aabb")), np.array(list("wxyz")), rng(0, "abx.grids")) == []


class Noises(ClipSource):
    """Three clips of different lengths in two shards."""

    shard_count, clip_count, key = 2, 3, "noises"
    loads = 0

    def load_shard(self, index: int) -> list[Clip]:
        self.loads += 1
        sizes = ((0, 3200), (1, 8000)) if index == 0 else ((2, 16_000),)
        return [Clip(i, np.full(size, i + 1, np.float32)) for i, size in sizes]


class Ramp:
    """A backbone of two layers, one frame a 1,600 samples: the clip's value and the frame's number."""

    fingerprint = "ramp"

    def forward(self, waves: Sequence[Waveform]) -> HiddenStates:
        counts = [len(wave) // 1600 for wave in waves]
        states = torch.zeros(len(waves), 2, max(counts), 3)
        for i, wave in enumerate(waves):
            states[i, 0, : counts[i]] = float(wave[0])
            states[i, 1] = torch.arange(max(counts))[:, None]
        return HiddenStates(states, torch.tensor(counts))


def test_frames_are_cached_in_order_and_cut(tmp_path: Path) -> None:
    source = Noises()
    for _ in range(2):
        frames = extract_frames(source, [0, 2], cast(Backbone, Ramp()), tmp_path / "frames", seconds=0.8)
        assert [clip.shape for clip in frames] == [(2, 2, 3), (8, 2, 3)]
        assert frames[1][:, 0, 0].tolist() == [3.0] * 8
        assert frames[1][:, 1, 0].tolist() == list(range(8))
    assert source.loads == 2


def test_the_mean_of_the_frames_is_the_clip() -> None:
    torch.manual_seed(0)
    spaces: dict[str, Any] = {"word": {"factor": "content", "dim": 4, "layers": [1, 2]}}
    model = SubspaceModel("none", 3, 5, spaces)
    torch.nn.init.normal_(model.mean)
    clip = torch.randn(7, 3, 5).numpy()
    clips = [clip.astype(np.float16), clip[:2].astype(np.float16)]
    found, raw = frame_embeddings(model, clips), dict(raw_frame_embeddings(model, clips))
    assert {name: [len(part) for part in parts] for name, parts in found.items()} == {"word": [7, 2]}
    assert {name: [len(part) for part in parts] for name, parts in raw.items()} == {
        "raw.0": [7, 2],
        "raw.1": [7, 2],
        "raw.2": [7, 2],
    }
    standard = model.standardise(torch.from_numpy(clips[1].astype(np.float32))).numpy()[:, 2]
    assert raw["raw.2"][1] == pytest.approx(standard / np.linalg.norm(standard, axis=1)[:, None], abs=1e-5)
    still = np.repeat(clip[:1], 5, axis=0)
    alone = frame_embeddings(model, [still.astype(np.float16)])["word"][0]
    assert alone == pytest.approx(np.repeat(model.project(clip[:1])["word"], 5, axis=0), abs=5e-3)
