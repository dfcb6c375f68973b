"""Human recordings come in by a manifest; what can't be read keeps its reason."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intervox.clips.manifest import Row, read_manifest
from intervox.clips.source import Recordings
from intervox.errors import IntervoxError


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_manifest_reads_the_same_in_every_format(suffix: str, tmp_path: Path) -> None:
    records = [
        {"path": "a.wav", "speaker": "x", "content": "7", "text": "seven", "session": "1"},
        {"path": "b.wav", "speaker": "y", "content": "7", "text": "seven", "session": ""},
    ]
    path = tmp_path / f"m{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(str(record).replace("'", '"') for record in records))
    else:
        path.write_text("path,speaker,content,text,session\na.wav,x,7,seven,1\nb.wav,y,7,seven,\n")
    assert read_manifest(path) == [
        Row(tmp_path / "a.wav", "x", "7", "seven", "1"),
        Row(tmp_path / "b.wav", "y", "7", "seven"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.txt", "x", "is no manifest"),
        ("m.csv", "path,speaker\na,b\n", "lacks the columns content"),
        ("m.csv", "path,speaker,content\n,b,c\n", "recording 1: path and speaker"),
        ("m.jsonl", "{broken", "not a readable jsonl"),
        ("m.jsonl", "[1]", "no JSON objects"),
        ("m.parquet", "nonsense", "not a readable parquet"),
        ("m.csv", "path,speaker,content\na.wav,al\0ice,x\n", "recording 1: speaker holds a NUL byte"),
        ("m.csv", "path,speaker,speaker,content\na.wav,a,b,x\n", "the column 'speaker' twice"),
        ("m.csv", "path,speaker,content\na.wav,a,b, c\n", "recording 1 has more values than columns"),
        ("m.csv", "path,speaker,content\na.wav,a,x\na.wav,a,x\n", "lists .*a.wav twice, .*1 and 2: keep one"),
        ("m.csv", "path,speaker,content\na.wav,a,x\n./a.wav,b,x\n", "belongs to 'a' and to 'b'"),
    ],
)
def test_a_bad_manifest_says_what_is_wrong(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(IntervoxError, match=message):
        read_manifest(tmp_path / name)
    with pytest.raises(IntervoxError, match=r"absent\.csv is missing"):
        read_manifest(tmp_path / "absent.csv")


def test_recordings_keep_the_reason_of_a_bad_file(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    source = Recordings([wav, tmp_path / "bad.wav", tmp_path / "absent.wav"], max_clips=2)
    assert source.shard_count == 2
    clips = source.load_shard(0) + source.load_shard(1)
    assert [clip.cell_id for clip in clips] == [0, 1, 2]
    assert clips[0].wave is not None
    assert "bad.wav can't be read" in (clips[1].error or "")
    assert "absent.wav is not a file" in (clips[2].error or "")


@pytest.mark.parametrize(("columns", "speaker", "content"), [
    ("path,speaker", "x", "unknown: a.wav"), ("path,content", "unknown: a.wav", "x"),
])  # fmt: skip
def test_half_of_the_labels_are_enough_to_be_measured_on(
    columns: str, speaker: str, content: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"{columns}\na.wav,x\n")
    assert read_manifest(path, partial=True) == [Row(tmp_path / "a.wav", speaker, content)]
    with pytest.raises(IntervoxError, match="lacks the columns"):
        read_manifest(path)
    path.write_text("path\na.wav\n")
    with pytest.raises(IntervoxError, match="lacks the columns content, speaker"):
        read_manifest(path, partial=True)
