"""Finding evaluation sets, their official lists and splits, and what a manifest tells of them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from intervox.clips.labels import Text
from intervox.clips.manifest import MAX_CLASSES, Row, as_labels, read_manifest, write_manifest
from intervox.corpus.plan.texts import reserved_texts
from intervox.errors import IntervoxError, IntervoxWarning
from intervox.evaluation.protocols import READERS, TrialList, find_protocols
from intervox.evaluation.protocols import closed_texts as emodb
from intervox.evaluation.protocols import closed_texts as ravdess
from intervox.evaluation.protocols.base import DIGITS, audio_files, read_trials
from intervox.evaluation.protocols.closed_texts import COMMANDS, official_split
from tests.conftest import ROOT
from tests.support.trees import grow

LISTS = ROOT / ".." / "shared" / "protocols"


@pytest.fixture
def lists() -> Path:
    """Return the folder of official lists, or skip where it is missing."""
    if not LISTS.is_dir():
        pytest.skip("official lists are not here: ../shared/protocols is missing")
    return LISTS


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
    fsdd = [(row.path.stem, row.text, row.split) for row in found["fsdd"].rows]
    assert fsdd[:2] == [("0_theo_1", "zero", "test"), ("7_jackson_32", "seven", "train")]
    with pytest.raises(IntervoxError, match=r"'absent' has no recordings.*INTERVOX_DATA"):
        find_protocols(("absent",))
    for text, complaint in (
        ("path,who\na.wav,ann\n", "lacks the columns content, speaker"),
        ("path,speaker,content\na.wav,,x\n", "line 2: speaker must not be empty"),
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
        "ravdess": (384, 24, 2),
    }


def test_every_corpus_is_documented_and_names_its_licence() -> None:
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    for name, corpus in READERS.items():
        line = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert corpus.licence in line, name
        assert corpus.source in line, name
        assert any(f"`{folder}" in line for folder in corpus.folders), name


def test_the_few_texts_of_small_corpora_are_reserved() -> None:
    said = [(digit, "en") for digit in DIGITS] + [(command, "en") for command in COMMANDS]
    said += [(sentence, "en") for sentence in ravdess.RAVDESS_SENTENCES]
    said += [(sentence, "de") for sentence in emodb.EMODB_SENTENCES.values()]
    texts = [Text(text, language, "own") for text, language in said]
    assert all(text in reserved_texts() for text in texts)


def test_what_is_asked_for_by_name_is_not_in_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    chapters = ("dev-clean/84/121123/84-121123-000", "test-clean/61/70968/61-70968-000")
    names = [f"LibriSpeech/{chapter}{take}.flac" for chapter in chapters for take in (0, 1)]
    others = ["dev-clean/174/50561/174-50561-0000", "test-clean/121/121726/121-121726-0000"]
    grow(tmp_path, dict.fromkeys(names + [f"LibriSpeech/{name}.flac" for name in others], ""))
    assert [protocol.name for protocol in find_protocols(("auto",))] == ["librispeech_test_clean"]
    (dev,) = find_protocols(("librispeech_dev_clean",))
    assert {row.speaker for row in dev.rows} == {"84", "174"}


def test_the_real_voxceleb_list(lists: Path) -> None:
    path = lists / "voxceleb1_o_cleaned.txt"
    names = sorted({name for line in path.read_text().splitlines() for name in line.split()[1:]})
    clips = {name: index for index, name in enumerate(names)}
    trials = read_trials(path, clips)
    assert (len(trials), trials.target.sum(), len(clips)) == (37_611, 18_802, 4_708)
    speakers = np.array([name.split("/")[0] for name in names])
    assert (trials.target == (speakers[trials.enrol] == speakers[trials.test])).all()
    kept = np.arange(0, len(clips), 2)
    fewer = trials.take(np.isin(np.arange(len(clips)), kept))
    assert 0 < len(fewer) < len(trials)
    assert (fewer.target == (speakers[kept][fewer.enrol] == speakers[kept][fewer.test])).all()


def test_the_hash_gives_the_official_splits_of_speech_commands(lists: Path) -> None:
    for split, file in (("test", "testing"), ("validation", "validation")):
        names = (lists / f"speech_commands_v0.01_{file}_list.txt").read_text().split()
        speakers = {name.split("/")[1].split("_nohash_")[0] for name in names}
        assert {official_split(speaker) for speaker in speakers} == {split}


def test_the_official_splits_share_no_speaker(corpora: Path) -> None:
    rows = READERS["speech_commands"].read(corpora / "speech_commands")
    by_split = {split: {row.speaker for row in rows if row.split == split} for split in ("train", "test")}
    assert by_split["train"]
    assert by_split["test"]
    assert not by_split["train"] & by_split["test"]


def test_lists_of_ones_own_keep_to_the_clips_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    lines = "".join(f"{take}.wav,{'ab'[take // 4]},text {take}\n" for take in range(8))
    trials = "1 0.wav 2.wav\n0 1.wav 5.wav\ntgt 4.wav 6.wav\n0 0.wav 4.wav\n"
    grow(tmp_path / "mine", {"manifest.csv": "path,speaker,content\n" + lines, "trials.txt": trials})
    (protocol,) = find_protocols(("mine",))
    everything = protocol.lists["trials"]
    assert everything.enrol.tolist() == [0, 1, 4, 0]
    assert everything.target.tolist() == [True, False, True, False]
    (half,) = find_protocols(("mine",), max_clips=4)
    kept = [(half.rows[a].path.name, half.rows[b].path.name) for a, b in _pairs(half.lists["trials"])]
    assert kept == [("0.wav", "2.wav"), ("4.wav", "6.wav"), ("0.wav", "4.wav")]
    for text, complaint in (
        ("1 0.wav 9.wav\n", r"trials.txt names 1 of 2 clips that are not among.*such as 9.wav"),
        ("yes 0.wav 1.wav\n", "trials.txt, line 1 is no trial: 'yes 0.wav 1.wav'"),
        ("1 0.wav\n", "line 1 is no trial"),
    ):
        grow(tmp_path / "mine", {"trials.txt": text})
        with pytest.raises(IntervoxError, match=complaint):
            find_protocols(("mine",))


def _pairs(trials: TrialList) -> list[tuple[int, int]]:
    return list(zip(trials.enrol.tolist(), trials.test.tolist(), strict=True))


def test_a_manifest_keeps_splits_and_factors(tmp_path: Path) -> None:
    rows = [
        Row(tmp_path / "a.wav", "ann", "x", "hello", "1", "de", "test", as_labels(emotion="fear", room="")),
        Row(tmp_path / "b.wav", "bob", "y", labels=as_labels(gender="male", emotion="anger")),
    ]
    write_manifest(tmp_path / "m.csv", rows)
    assert read_manifest(tmp_path / "m.csv") == rows
    assert rows[0].labels == (("emotion", "fear"),)
    assert len(set(rows)) == 2


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_columns_of_numbers_and_of_remarks_are_no_factors(tmp_path: Path, format: str) -> None:
    table = pa.table(
        {
            "path": [f"{index}.wav" for index in range(MAX_CLASSES + 1)],
            "speaker": ["ann"] * (MAX_CLASSES + 1),
            "content": ["x"] * (MAX_CLASSES + 1),
            "accent": ["Fife", ""] * (MAX_CLASSES // 2) + [None],
            "duration": np.arange(MAX_CLASSES + 1) / 10,
            "remark": [f"remark {index}" for index in range(MAX_CLASSES + 1)],
        }
    )
    path = tmp_path / f"m.{format}"
    if format == "csv":
        pa_csv.write_csv(table, path)
    elif format == "jsonl":
        path.write_text("\n".join(json.dumps({**row, "words": [1, 2]}) for row in table.to_pylist()))
    else:
        pq.write_table(table, path)
    found = [row.labels for row in read_manifest(path)]
    assert found == [(("accent", "Fife"),), ()] * (MAX_CLASSES // 2) + [()]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_repeated_trial_counts_once_and_blank_lines_do_not(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text("1 a b\n\n0 b c\n1 a b\n1 b a\n\n\n", encoding=encoding)
    with pytest.warns(IntervoxWarning, match="repeats 1 of its 4 trials: each counts once"):
        trials = read_trials(path, {"a": 0, "b": 1, "c": 2})
    assert _pairs(trials) == [(0, 1), (1, 2), (1, 0)]
    assert trials.target.tolist() == [True, False, True]


@pytest.mark.parametrize("other", ["0 a b", "0 b a"])
def test_a_trial_list_that_contradicts_itself_is_refused(other: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.txt"
    path.write_text(f"1 a b\n1 b c\n\n{other}\n")
    with pytest.raises(IntervoxError, match="line 4 contradicts line 1: one pair"):
        read_trials(path, {"a": 0, "b": 1, "c": 2})
    path.write_text("1 a b\n\n1 a gone\n0 gone lost\n")
    with pytest.raises(IntervoxError, match="names 2 of 4 clips .*such as gone in line 3: complete"):
        read_trials(path, {"a": 0, "b": 1, "c": 2})


def test_what_macos_leaves_beside_the_clips_is_no_recording(tmp_path: Path) -> None:
    for name in ("1.wav", "._1.wav"):
        (tmp_path / name).touch()
    assert list(audio_files(tmp_path)) == [tmp_path / "1.wav"]
