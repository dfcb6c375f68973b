"""Other toolkits' manifests, and audio inside of tables."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from intervox.audio import encode_flac, load_audio
from intervox.clips.manifest import Row, read_manifest, read_paths
from intervox.errors import IntervoxError
from intervox.interop.clips import listed
from tests.conftest import Speech

NEMO = {"audio_filepath": "a.wav", "text": "go", "duration": 1.0, "speaker": "ann", "lang": "de"}
CUT: dict[str, Any] = {
    "id": "cut-1",
    "start": 0,
    "duration": 1.0,
    "channel": 0,
    "type": "MonoCut",
    "supervisions": [{"id": "s", "recording_id": "r", "start": 0, "duration": 1.0, "channel": 0,
                      "text": "go", "language": "de", "speaker": "ann", "gender": "F"}],
    "recording": {"id": "r", "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
                  "sampling_rate": 16_000, "num_samples": 16_000, "duration": 1.0, "channel_ids": [0]},
}  # fmt: skip


def write_lines(path: Path, *records: dict[str, Any]) -> Path:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["m.json", "m.jsonl", "m.jsonl.gz"])
def test_nemos_manifests_are_read(name: str, tmp_path: Path, speech: Speech) -> None:
    sf.write(tmp_path / "a.wav", speech(1.0, 0), 16_000)
    path = write_lines(tmp_path / name, NEMO | {"offset": 0.0})
    assert read_manifest(path) == [Row(tmp_path / "a.wav", "ann", "go", "go", language="de")]
    clips, count = listed(str(path))
    assert (list(clips), count) == ([("a.wav", str(tmp_path / "a.wav"))], 1)
    path = write_lines(tmp_path / name, {name: NEMO[name] for name in ("audio_filepath", "text")})
    assert read_manifest(path, partial=True)[0].speaker == "unknown: a.wav"


@pytest.mark.parametrize("changes", [{"offset": 3.2}, {"duration": 0.4}])
def test_a_stretch_of_a_file_is_refused(changes: dict[str, Any], tmp_path: Path, speech: Speech) -> None:
    sf.write(tmp_path / "a.wav", speech(1.0, 0), 16_000)
    path = write_lines(tmp_path / "m.json", NEMO, NEMO | {"audio_filepath": "./a.wav"} | changes)
    with pytest.raises(IntervoxError, match=r"m\.json, line 2 is a stretch of ./a.wav, not all of it"):
        read_manifest(path)


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_lhotses_cuts_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / name, CUT)
    row = Row(tmp_path / "a.wav", "ann", "go", "go", language="de", labels=(("gender", "F"),))
    assert read_manifest(path) == [row]
    # As lhotse does, from where the command runs.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("a.wav").touch()
    assert read_manifest(path)[0].path == tmp_path / "elsewhere" / "a.wav"


def of_cut(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    cut: dict[str, Any] = json.loads(json.dumps(CUT))
    change(cut)
    return cut


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cut: cut.update(type="MixedCut"), "is a MixedCut, not a MonoCut"),
        (lambda cut: cut.update(start=0.5), "a stretch, a channel or a transformation of a.wav"),
        (lambda cut: cut.update(duration=0.5), "save_audios"),
        (lambda cut: cut["recording"].update(transforms=[{"name": "Speed"}]), "a transformation"),
        (lambda cut: cut["recording"]["sources"][0].update(channels=[0, 1]), "a channel"),
        (lambda cut: cut["recording"]["sources"][0].update(type="command"), "'command', which is never"),
        (lambda cut: cut["supervisions"].append({}), "has 2 supervisions: trim the cuts"),
        (lambda cut: cut["recording"].pop("sources"), "lacks or misspells a field .*'sources'"),
    ],
)
def test_cuts_that_are_no_whole_file_are_refused(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "cuts.jsonl", of_cut(change))
    with pytest.raises(IntervoxError, match=f"line 1.*{message}"):
        read_manifest(path)


def test_audio_inside_a_table_is_read_like_files(
    tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path / "cache"))
    waves = [speech(1.0, seed) for seed in range(70)]
    audio: list[dict[str, Any]] = [
        {"bytes": encode_flac(wave), "path": f"{row}.flac"} for row, wave in enumerate(waves)
    ]
    audio[1] = {"bytes": None, "path": "own.flac"}
    columns = {"audio": audio, "speaker": ["x", "y"] * 35, "text": ["go"] * 70}
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table(columns), path)
    rows = read_manifest(path)
    assert [row.speaker for row in rows] == columns["speaker"]
    assert rows[1].path == tmp_path / "own.flac"
    # 16 bits.
    assert abs(load_audio(rows[69].path) - waves[69]).max() < 1e-4
    before = rows[0].path.stat().st_mtime_ns
    assert read_manifest(path) == rows
    assert rows[0].path.stat().st_mtime_ns == before
    names = [clip["path"] for clip in audio]
    assert read_paths(path) == [(name, str(row.path)) for name, row in zip(names, rows, strict=True)]
    # A column of paths that lead somewhere comes first, and one that doesn't, as of a hub's corpus, not.
    for path_column, inside in (("train.parquet", False), ("gone.wav", True)):
        pq.write_table(pa.table(columns | {"path": [path_column] + ["b.wav"] * 69}), tmp_path / "p.parquet")
        clips = [Path(clip) for _, clip in read_paths(tmp_path / "p.parquet")]
        assert (clips[0].parent.parent.name == "embedded") == inside


def test_a_row_without_audio_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path / "cache"))
    audio = [{"bytes": b"x", "path": "a.wav"}, None]
    pq.write_table(
        pa.table({"audio": audio, "speaker": ["x", "y"], "text": ["a", "b"]}), tmp_path / "m.parquet"
    )
    with pytest.raises(IntervoxError, match=r"m\.parquet, row 2: path must not be empty"):
        read_manifest(tmp_path / "m.parquet")
