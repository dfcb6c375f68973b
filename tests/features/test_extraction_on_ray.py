"""Encoding on a local Ray cluster: the same bytes as in one process, with a worker killed in the middle."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.backbones.load import load_backbone
from intervox.clips.source import Clip, ClipSource
from intervox.errors import IntervoxError
from intervox.features.encoding import ByName
from intervox.features.extraction import extract
from intervox.parallel import LOCAL_RAY, Pool
from intervox.recipe import FeatureSettings
from tests.backbones.test_backbones import SMALL

SHARDS, CLIPS = 4, 5


class Noise(ClipSource):
    """Clips of noise of many lengths; one of them can't be read."""

    shard_count = SHARDS
    clip_count = SHARDS * CLIPS
    key = "noise"

    def load_shard(self, index: int) -> list[Clip]:
        found = []
        for cell_id in range(index * CLIPS, (index + 1) * CLIPS):
            random = np.random.default_rng(cell_id)
            wave = random.normal(0, 0.1, 4_000 + 777 * cell_id).astype(np.float32)
            found.append(Clip(cell_id, None, "damaged") if cell_id == 7 else Clip(cell_id, wave))
        return found


class Mortal:
    """An encoder that kills its worker once, as a full memory does."""

    name, layers, dim, fingerprint = "mortal", 2, 3, "mortal"

    def __init__(self, marker: Path, deadly: bool) -> None:
        self.marker, self.deadly = str(marker), deadly

    def encode(self, waves: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self.deadly and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        means = [[[wave.std() * (layer + dim) for dim in range(3)] for layer in range(2)] for wave in waves]
        return np.asarray(means, np.float32), np.full(len(waves), 9)


@pytest.fixture
def ray_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    # Workers unpickle what this file defines by name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]), prepend=os.pathsep)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_ray_encodes_the_same_bytes_and_survives_a_killed_worker(tmp_path: Path) -> None:
    import ray
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model("wavlm", **SMALL)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "wavlm")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "wavlm")
    backbone = load_backbone(str(tmp_path / "wavlm"))
    settings = FeatureSettings(max_failures=0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for frames in (False, True):
            here, there = (tmp_path / f"{where}-{frames}" for where in ("here", "there"))
            extract(Noise(), backbone, settings, here, frames=frames)
            extract(Noise(), backbone, settings, there, frames=frames, pool=Pool(2, LOCAL_RAY))
            assert files(here) == files(there)
        alive, killed = (Mortal(tmp_path / "killed", deadly) for deadly in (False, True))
        extract(Noise(), alive, settings, tmp_path / "alive")
        extract(Noise(), killed, settings, tmp_path / "dead", pool=Pool(2, LOCAL_RAY))
        assert (tmp_path / "killed").exists()
        assert files(tmp_path / "alive") == files(tmp_path / "dead")
    finally:
        ray.shutdown()
        torch.set_num_threads(threads)


def test_a_worker_with_other_weights_says_so(tmp_path: Path) -> None:
    import transformers

    config = transformers.AutoConfig.for_model("wavlm", **SMALL)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "wavlm")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path / "wavlm")
    fingerprint = load_backbone(str(tmp_path / "wavlm")).fingerprint
    assert ByName(str(tmp_path / "wavlm"), fingerprint).load().fingerprint == fingerprint
    with pytest.raises(IntervoxError, match="a worker has other weights"):
        ByName(str(tmp_path / "wavlm"), "another").load()
