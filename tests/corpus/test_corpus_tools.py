"""A corpus can be judged from its folder alone: checked, listened to, described, opened by others."""

import io
import json
import shutil
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import yaml
from numpy.typing import NDArray

from intervox.audio import encode_flac
from intervox.clips.corpus import find_corpus, read_labels
from intervox.clips.schema import CELL_SCHEMA, SHARD_SCHEMA
from intervox.corpus.inspect import card, check, show
from intervox.corpus.inspect.card import corpus_card
from intervox.corpus.inspect.check import check_corpus
from intervox.corpus.inspect.check_clips import Finding
from intervox.corpus.inspect.show import write_corpus_page
from intervox.errors import IntervoxError
from intervox.storage import read_json, write_json
from tests.support.corpora import Row, tone_rows, write_corpus

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def rows() -> list[Row]:
    return tone_rows()


@pytest.fixture
def corpus(tmp_path: Path, rows: list[Row]) -> Path:
    return write_corpus(tmp_path / "corpus", rows)


def found(folder: Path, severity: str = "error") -> list[Finding]:
    return [finding for finding in check_corpus(folder, workers=1) if finding.severity == severity]


def text_of(findings: list[Finding]) -> str:
    return "\n".join(" ".join((finding.what, *finding.examples)) for finding in findings)


def test_a_sound_corpus_has_no_errors(corpus: Path) -> None:
    assert text_of(found(corpus)) == ""
    warnings = text_of(found(corpus, "warning"))
    assert "1 of 24 cells (4.2%) are holes, rejected or failed: CER … above … for text …" in warnings
    facts = text_of(found(corpus, "info"))
    assert "3 blocks, by size (speaker × content × copy) 3 of 2 × 2 × 2" in facts
    assert "train and test share 1 engine value espeak" in facts
    assert "train: 2 values of speaker, 8 to 8 cells each (ratio 1.0)" in facts
    assert "train: kinds of disturbance by their share of the cells; severity 0.00 · 0.20 · 0.40" in facts
    assert "clean: 50% level: 50% noise: 50%" in facts


def test_worker_processes_find_the_same(corpus: Path) -> None:
    assert check_corpus(corpus, workers=2) == check_corpus(corpus, workers=1)


def test_a_corpus_without_plan_and_json_is_checked_too(corpus: Path) -> None:
    (corpus / "corpus.json").unlink()
    (corpus / "cells.parquet").unlink()
    assert not found(corpus)
    assert "no corpus.json" in text_of(found(corpus, "info"))


def test_the_labels_alone_are_enough(corpus: Path) -> None:
    test_a_corpus_without_plan_and_json_is_checked_too(corpus)
    for path in (corpus / "audio").iterdir():
        names = ["cell_id", "block", "split", "speaker", "content", "audio"]
        pq.write_table(pq.read_table(path, columns=names), path)
    errors = text_of(found(corpus))
    assert "repeated" in errors  # The copies can no longer be told apart.
    assert "neither audio nor a reason" in errors
    assert "shards have no column text, language, engine" in text_of(found(corpus, "warning"))
    write_corpus_page(corpus, corpus / "page.html")
    assert (corpus / "page.html").read_text().count("<audio ") == 7
    assert "4 speakers say 5 contents" in corpus_card(corpus)


def delete_shard(folder: Path) -> None:
    (folder / "audio" / "shard-00001.parquet").unlink()


def truncate_shard(folder: Path) -> None:
    path = folder / "audio" / "shard-00001.parquet"
    path.write_bytes(path.read_bytes()[:-500])


def flip_bytes(folder: Path) -> None:
    path = folder / "audio" / "shard-00001.parquet"
    data = bytearray(path.read_bytes())
    data[200:260] = bytes(60)
    path.write_bytes(data)


def drop_column(folder: Path) -> None:
    path = folder / "audio" / "shard-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["speaker"]), path)


def change_type(folder: Path) -> None:
    path = folder / "audio" / "shard-00001.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("block")
    pq.write_table(table.set_column(at, "block", table["block"].cast("string")), path)


def leave_unfinished(folder: Path) -> None:
    write_json(folder / "step.json", {"key": "x", "complete": False})


def break_json(folder: Path) -> None:
    (folder / "corpus.json").write_text("{")


def change_count(folder: Path) -> None:
    write_json(folder / "corpus.json", read_json(folder / "corpus.json") | {"failed": 9, "hours": "many"})


def mistype_plan(folder: Path) -> None:
    plan = pq.read_table(folder / "cells.parquet")
    words = pa.array(["first"] * plan.num_rows)
    pq.write_table(plan.set_column(1, "block", words), folder / "cells.parquet")


def break_plan(folder: Path) -> None:
    (folder / "cells.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            delete_shard,
            ["8 of 24 cell_ids are missing 8–15", "shard-00002.parquet begins with cell 16, not 8"],
        ),
        (truncate_shard, ["shard-00001.parquet can't be read", "8 of 24 cell_ids are missing"]),
        (flip_bytes, ["shard-00001.parquet"]),
        (drop_column, ["1 shards have no column speaker shard-00001.parquet"]),
        (change_type, ["shard-00001.parquet: column block is string, not integer"]),
        (leave_unfinished, ["the synthesis was not finished"]),
        (break_json, ["corpus.json is not readable JSON"]),
        (change_count, ["corpus.json says failed: 9, the shards hold 1", "hours has no usable value"]),
        (break_plan, ["cells.parquet can't be read"]),
        (mistype_plan, ["cells.parquet has columns of another type"]),
    ],
)
def test_damaged_files_are_found(corpus: Path, damage: Callable[[Path], None], words: list[str]) -> None:
    damage(corpus)
    errors = text_of(found(corpus))
    for word in words:
        assert word in errors


def as_audio(wave: NDArray[np.float32], rate: int = 16_000) -> dict[str, object]:
    buffer = io.BytesIO()
    sf.write(buffer, wave, rate, format="WAV", subtype="FLOAT")
    return {"bytes": buffer.getvalue(), "path": "x.wav"}


SECOND = np.full(16_000, 0.1, np.float32)
BAD_CELLS: dict[str, tuple[Row, str]] = {
    "silence": ({"audio": as_audio(0 * SECOND)}, "1 cells hold silence cell 0: 1.00 s"),
    "rate": ({"audio": as_audio(SECOND, 8_000)}, "another sample rate than 16 kHz cell 0: 8000 Hz"),
    "stereo": ({"audio": as_audio(np.stack([SECOND, SECOND], 1))}, "more than one channel"),
    "nan": ({"audio": as_audio(np.nan * SECOND)}, "NaN or infinite samples"),
    "short": ({"audio": as_audio(SECOND[:9])}, "less than 25 ms"),
    "noise": ({"audio": {"bytes": b"no audio", "path": None}}, "audio that can't be decoded"),
    "absent": ({"audio": None}, "neither audio nor a reason"),
    "both": ({"error": "too loud"}, "both audio and a reason"),
    "duration": ({"duration": 9.0}, "a `duration` that is not the clip's cell 0: 9.00 s"),
    "speaker": ({"speaker": "espeak:b"}, "cells of the blocks' grids are absent block 0: espeak:a × t0 × 0"),
    "repeated": ({"speaker": "espeak:b"}, "repeated block 0: espeak:b × t0 × 0"),
    "voice": ({"voice": "z"}, "speakers have several voices in a block block 0: espeak:a"),
    "text": ({"text": "no"}, "a content is one text, but not 1 of 5 t0: no, yes"),
    "content": ({"text": "The cat sat"}, "a text of a language is one content, but not 1"),
    "split": ({"split": "test"}, "a block lies in one split, but not 1 of 3"),
    "overlap": ({"split": "test"}, "test and train share 1 speaker value espeak:a"),
    "number": ({"cell_id": 1}, "1 cell_ids occur twice"),
    "empty": ({"speaker": None}, "1 cells have no speaker cell 0"),
}


@pytest.mark.parametrize("name", BAD_CELLS)
def test_a_bad_cell_is_found(tmp_path: Path, rows: list[Row], name: str) -> None:
    change, words = BAD_CELLS[name]
    rows[0] |= change
    assert words in text_of(found(write_corpus(tmp_path / "corpus", rows)))


def test_a_label_that_the_plan_has_otherwise_is_found(corpus: Path, rows: list[Row]) -> None:
    rows[2]["language"] = "de"
    write_corpus(corpus.parent / "other", rows)
    shutil.copy(corpus / "cells.parquet", corpus.parent / "other")
    errors = text_of(found(corpus.parent / "other"))
    assert "language of 1 cells is not what cells.parquet says cell 2: 'de', planned 'en-gb'" in errors


def test_a_missing_cell_is_found(tmp_path: Path, rows: list[Row]) -> None:
    del rows[3]
    errors = text_of(found(write_corpus(tmp_path / "corpus", rows)))
    assert "1 cells of the blocks' grids are absent block 0: espeak:a × t3 × 1" in errors


def test_splits_that_share_speech_are_found(tmp_path: Path, rows: list[Row]) -> None:
    for row in (row for row in rows if row["split"] == "test"):
        row["text"] = "Yes!" if row["content"] == "t2" else row["text"]
        row["voice"] = row["speaker"].replace("espeak:c", "a").replace("espeak:d", "A")
    folder = write_corpus(tmp_path / "corpus", rows)
    errors = text_of(found(folder))
    assert "train and test share 1 text value yes" in errors
    assert "train and test share 1 voice value espeak: a" in errors
    assert "train and test share 1 voice family value espeak: A" in errors


def test_the_same_audio_under_two_labels_is_found(tmp_path: Path, rows: list[Row]) -> None:
    for field in ("audio", "duration"):
        rows[1][field] = rows[0][field]
        rows[9][field] = rows[12][field]
    folder = write_corpus(tmp_path / "corpus", rows)
    assert "samples of a clip with another speaker or content cells 9 and 12" in text_of(found(folder))
    assert "1 clips repeat another's samples cells 0 and 1" in text_of(found(folder, "warning"))


def test_the_command_says_it_by_exit_code_and_json(corpus: Path, command: Command) -> None:
    done = command("corpus", "check", str(corpus.parent), "--json", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert {finding["severity"] for finding in json.loads(done.stdout)} == {"warning", "info"}
    delete_shard(corpus)
    done = command("corpus", "check", str(corpus), "--workers", "1")
    assert done.returncode == 2
    assert "bring back the shards" in done.stdout
    done = command("corpus", "check", str(corpus / "audio"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "holds no corpus" in done.stderr


def test_a_run_folder_leads_to_its_corpus(corpus: Path) -> None:
    assert find_corpus(corpus.parent) == find_corpus(corpus) == corpus


def test_the_plan_supplies_labels_that_shards_lack(corpus: Path) -> None:
    whole = read_labels(corpus)
    for path in (corpus / "audio").iterdir():
        table = pq.read_table(path)
        lacking = [name for name in CELL_SCHEMA.names if name != "cell_id"]
        pq.write_table(table.drop_columns(lacking), path)
    assert read_labels(corpus).select(whole.column_names).equals(whole)


def test_the_page_has_every_clip_and_escapes_the_texts(corpus: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_corpus_page(corpus, page, [0, 2])
    text = page.read_text()
    assert text.count("<audio ") == 15
    assert text.count("data:audio/flac;base64,") == 15
    assert text.count("data:image/png;base64,") == 15
    assert "<b>failed</b>: CER 1.40 above 0.3 for text" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in text
    assert 'id="block-0"' in text
    assert 'id="block-2"' in text
    assert "http" not in text.replace("http-equiv", "")


def test_a_page_too_large_gives_up_audio_and_says_so(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "LOSSLESS_BYTES", 20_000)
    monkeypatch.setattr(show, "MAX_AUDIO_BYTES", 20_000)
    write_corpus_page(corpus, tmp_path / "page.html", [0])
    text = (tmp_path / "page.html").read_text()
    left = text.count("data:audio/mpeg;base64,")
    assert 0 < left < 7
    assert f"{7 - left} clips have none: show fewer blocks" in text


def test_a_block_that_does_not_exist_is_refused(corpus: Path, command: Command) -> None:
    done = command("corpus", "show", str(corpus), "--block", "7")
    assert done.returncode == 2
    assert done.stderr == "error: block 7 does not exist: the corpus has 3 blocks, 0 to 2\n"
    truncate_shard(corpus)
    with pytest.raises(IntervoxError, match="is damaged"):
        write_corpus_page(corpus, corpus / "page.html")


def test_the_card_says_what_the_hub_reads(corpus: Path) -> None:
    _, front, body = corpus_card(corpus).split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "other"
    assert about["language"] == ["en"]
    assert about["size_categories"] == ["n<1K"]
    assert [feature["name"] for feature in about["dataset_info"]["features"]] == SHARD_SCHEMA.names
    assert "4 speakers say 5 contents in 3 *blocks*" in body
    assert "| espeak | 1.52 | GPL-3.0 (the engine); its speech is free | 4 | 4 | 4 |" in body
    assert "Cells with each disturbance: clean (50%), level (50%), noise (50%)." in body
    assert "1 of 24 cells were rejected or failed" in body
    assert "character error rate of a recogniser | 0 | 0 | 0.1 | 0.1 |" in body


def test_the_code_on_the_card_runs(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", corpus.parent / "cache")
    monkeypatch.chdir(corpus)
    names: dict[str, Any] = {}
    exec(corpus_card(corpus).split("```python\n")[1].split("```")[0], names)
    assert names["train"].num_rows == 15


def test_datasets_opens_the_shards_and_the_folder(corpus: Path, tmp_path: Path, command: Command) -> None:
    datasets = pytest.importorskip("datasets")
    cache = str(tmp_path / "cache")
    opened = datasets.load_dataset(
        "parquet", data_files=str(corpus / "audio" / "*.parquet"), split="train", cache_dir=cache
    )
    assert opened.num_rows == 24
    assert opened.cast_column("audio", datasets.Audio(decode=False)).column_names == SHARD_SCHEMA.names
    assert command("corpus", "card", str(corpus)).returncode == 0
    by_card = datasets.load_dataset(str(corpus), split="cells", cache_dir=cache)
    assert isinstance(by_card.features["audio"], datasets.Audio)
    first = by_card.cast_column("audio", datasets.Audio(decode=False))[0]
    wave, rate = sf.read(io.BytesIO(first["audio"]["bytes"]))
    assert rate == 16_000
    assert len(wave) / rate == first["duration"]
    assert encode_flac(wave.astype(np.float32)) == first["audio"]["bytes"]


def test_what_the_page_and_the_card_show_is_what_shards_have(corpus: Path) -> None:
    assert {*show._QUALITY, *card._QUALITY} <= set(SHARD_SCHEMA.names)
    write_corpus_page(corpus, corpus / "page.html")
    assert "evidence 2.5 nats a token, crest 17 dB" in (corpus / "page.html").read_text()
    assert "nats a token | 2.5 | 2.5 | 2.5 | 2.5 |" in corpus_card(corpus)


def test_only_needed_columns_are_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []
    whole = pq.read_table

    def read(path: Path, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
        if filters is None:
            asked.append(set(columns or SHARD_SCHEMA.names))
        return whole(path, columns=columns, filters=filters)

    monkeypatch.setattr(pq, "read_table", read)
    corpus_card(corpus)
    write_corpus_page(corpus, corpus / "page.html")
    assert asked
    assert not any(names & {"audio", "transcript", "text", "seed"} for names in asked)


def test_a_plan_is_compared_without_objects_for_its_cells(tmp_path: Path) -> None:
    count = 20_000
    ids = pa.array(range(count))
    cells = pa.table(
        {"cell_id": ids, "text": [f"text {i}" for i in range(count)], "severity": [None] * count}
    )
    cells = cells.set_column(2, "severity", cells["severity"].cast(pa.float64()))
    changed = pa.array(["other", None, *cells["text"].to_pylist()[2:]])
    pq.write_table(cells.set_column(1, "text", changed).slice(0, count - 1), tmp_path / "cells.parquet")
    tracemalloc.start()
    findings = list(check._plan_findings(tmp_path, cells))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text_of(findings) == (
        "text of 2 cells is not what cells.parquet says cell 0: 'text 0', planned 'other' "
        "cell 1: 'text 1', planned None\n1 cells are only in cells.parquet or only in the shards 19999"
    )
    assert peak < 1_000_000


def test_columns_of_different_types_are_one_sentence(corpus: Path) -> None:
    change_type(corpus)
    with pytest.raises(IntervoxError, match="columns of different types: `intervox corpus check` says which"):
        corpus_card(corpus)
