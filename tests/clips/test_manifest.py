"""Human recordings come in by a manifest; what can't be read keeps its reason."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intervox.clips.manifest import Row, as_label, read_manifest
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
        ("m.txt", "x", "is not a manifest"),
        ("m.csv", "path,speaker\na,b\n", "lacks the columns content"),
        ("m.csv", "path,speaker,content\n,b,c\n", r"m\.csv, line 2: path must not be empty"),
        ("m.csv", "path,speaker,content\na.wav,,c\n", "line 2: speaker must not be empty"),
        ("m.jsonl", "\n{broken", r"m\.jsonl, line 2 is not usable JSON"),
        ("m.jsonl", "[1]", "line 1 is not a JSON object"),
        ("m.parquet", "nonsense", "not a readable Parquet"),
        ("m.csv", "path,speaker,content\na.wav,al\0ice,x\n", "line 2: speaker holds a NUL byte"),
        ("m.csv", "path,speaker,speaker,content\na.wav,a,b,x\n", "the column 'speaker' twice"),
        ("m.csv", "path,speaker,content\na.wav,a,b, c\n", "line 2 has more values than columns"),
        ("m.csv", "path,speaker,content\n\na.wav,a\n", "line 3 has fewer values"),
        ("m.csv", "path,speaker,content\na.wav,a,x\na.wav,a,x\n", "a.wav twice, in line 2 and line 3: keep"),
        ("m.csv", "path,speaker,content\na.wav,a,x\n./a.wav,b,x\n", "belongs to 'a' and to 'b'"),
        ("m.jsonl", '{"path": "a.wav", "speaker": "a", "speaker": "b"}', "'speaker' is given twice"),
        ("m.csv", "path;speaker;content\na.wav;a;x\n", "separates its values by semicolons: write commas"),
        # A quote that never closes, and one that closes in another row's.
        ("m.csv", 'path,speaker,content\na.wav,a,"go\nb.wav,b,stop\nc.wav,c,up\n', "line 2: a quote there"),
        ("m.csv", 'path,speaker,content\na.wav,a,"go\nb.wav,b,"stop"\n', "line 2: a quote there"),
        ("m.csv", 'path,speaker,content\na.wav,a,"go\nb.wav,b,stop"\n', "line 2: a quote there swallows"),
        ("m.csv", 'path,speaker,content\na.wav,"a,go\nb.wav,b",stop\n', "line 2: a quote there swallows"),
        ("m.csv", 'speaker,path,content\na,a.wav,"go\nb,b.wav,stop"\n', "line 2: a quote there swallows"),
        ("m.csv", 'path,speaker,content\na.wav,a,"go" now\n', "line 2: a quote there"),
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
    with pytest.raises(IntervoxError, match="lacks the columns content or speaker: add one of them"):
        read_manifest(path, partial=True)


def write_csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def test_values_of_several_lines_and_with_quotes_are_legal(tmp_path: Path) -> None:
    text = 'path,speaker,text\na.wav,a,"one,\ntwo, said ""b.wav"""\r\nb.wav,b,"three\n\nfour"\n\n'
    rows = read_manifest(write_csv(tmp_path / "m.csv", text))
    assert [row.text for row in rows] == ['one,\ntwo, said "b.wav"', "three\n\nfour"]
    text = 'speaker,text,path\na,"one,\nb,two",a.wav\nb,"three",b.wav\n'
    rows = read_manifest(write_csv(tmp_path / "m.csv", text))
    assert [(row.path.name, row.text) for row in rows] == [("a.wav", "one,\nb,two"), ("b.wav", "three")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_any_byte_order_mark_is_read(suffix: str, encoding: str, tmp_path: Path) -> None:
    texts = {
        ".csv": "path,speaker,content\nä.wav,é,x\n",
        ".jsonl": '{"path": "ä.wav", "speaker": "é", "content": "x"}\n',
    }
    (row,) = read_manifest(write_csv(tmp_path / f"m{suffix}", texts[suffix], encoding))
    assert row == Row(tmp_path / "ä.wav", "é", "x")


def test_another_encoding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=r"m\.csv is not UTF-8 text: save it as text"):
        read_manifest(write_csv(tmp_path / "m.csv", "path,speaker,content\nä.wav,a,x\n", "latin-1"))


LABELS = ((None, ""), (math.nan, ""), (7, "7"), (7.0, "7"), ("007", "007"), ("NA", "NA"), (0.5, "0.5"))


@pytest.mark.parametrize(
    ("given", "label"), [*LABELS, ("nan", ""), ("7.0", "7"), ("7.10", "7.10"), ("Nan", "Nan")]
)
def test_a_label_is_missing_or_a_text(given: object, label: str) -> None:
    assert as_label(given) == label


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_missing_labels_are_no_label_in_any_format(suffix: str, tmp_path: Path) -> None:
    """What pandas makes of labels of which some are missing."""
    pandas = pytest.importorskip("pandas")
    path = tmp_path / f"m{suffix}"
    table = pandas.DataFrame({
        "path": [f"{row}.wav" for row in range(4)],
        "speaker": ["007", "7", "NA", "7"],
        "content": [7.0, None, 8.0, 7.0],
        "mood": ["calm", None, "nan", "None"],
    })  # fmt: skip
    if suffix == ".csv":
        table.to_csv(path, index=False)
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=True)
    rows = read_manifest(path)
    assert [row.speaker for row in rows] == ["007", "7", "NA", "7"]
    assert [row.content for row in rows] == ["7", "unknown: 1.wav", "8", "7"]
    assert [dict(row.labels).get("mood") for row in rows] == ["calm", None, None, "None"]


@pytest.mark.parametrize("speaker", ["null", "NaN", '""'])
def test_unknown_people_are_not_one_speaker(speaker: str, tmp_path: Path) -> None:
    line = '{"path": "a.wav", "speaker": %s, "content": "go"}\n'
    path = write_csv(tmp_path / "m.jsonl", line.replace("a.wav", "b.wav") % '"x"' + line % speaker)
    with pytest.raises(IntervoxError, match="line 2: speaker must not be empty"):
        read_manifest(path)


def test_words_and_paths_are_no_labels(tmp_path: Path) -> None:
    text = "path,speaker,text\n7.0,a,nan\nnan,a,7.0\n"
    rows = read_manifest(write_csv(tmp_path / "m.csv", text))
    assert [(row.path.name, row.text) for row in rows] == [("7.0", "nan"), ("nan", "7.0")]


def test_unicodes_other_line_ends_end_no_line(tmp_path: Path) -> None:
    record = {"path": "a.wav", "speaker": "a", "content": "go\u2028on\u0085now"}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    (row,) = read_manifest(path)
    assert row.content == record["content"]


@pytest.mark.parametrize("kind", [
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()),
])  # fmt: skip
def test_every_kind_of_text_in_parquet_is_read(kind: pa.DataType, tmp_path: Path) -> None:
    columns = {"path": ["a.wav", "b.wav"], "speaker": ["x", "y"], "content": ["1", "2"], "mood": ["m", "n"]}
    table = pa.table({name: pa.array(values).cast(kind) for name, values in columns.items()})
    pq.write_table(table, tmp_path / "m.parquet")
    rows = read_manifest(tmp_path / "m.parquet")
    assert [(row.path.name, row.speaker, row.content, row.labels) for row in rows] == [
        ("a.wav", "x", "1", (("mood", "m"),)),
        ("b.wav", "y", "2", (("mood", "n"),)),
    ]


def test_a_name_in_the_other_normal_form_is_found(tmp_path: Path) -> None:
    (tmp_path / "cafe\u0301.wav").touch()
    (row,) = read_manifest(write_csv(tmp_path / "m.csv", "path,speaker,content\ncaf\u00e9.wav,a,x\n"))
    assert row.path.is_file()


def test_reading_lists_loads_nothing_heavy() -> None:
    program = "import sys, intervox.clips.manifest, intervox.interop.clips; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "scipy", "torch", "pandas"} & set(loaded.stdout.split())


def test_without_pyarrow_parquet_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(IntervoxError, match=r"Parquet files needs .*pip install .*\[train\]"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize(("line", "message"), [
    ('{"path": "a.wav", "speaker": {"a": 1}, "content": "x"}', "speaker is not one value"),
    ('{"path": "a.wav", "speaker": "a", "content": ["x"]}', "content is not one value"),
    ("[" * 100_000, "line 1 is not usable JSON"),
])  # fmt: skip
def test_what_is_no_label_is_refused(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(line)
    with pytest.raises(IntervoxError, match=message):
        read_manifest(path)
