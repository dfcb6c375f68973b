"""Files of vectors read by whoever they were written for, and lists of clips that run nothing."""

import io
import json
import os
import pickle
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.errors import IntervoxError, IntervoxWarning
from intervox.interop import VECTOR_FORMATS, open_writer, read_kaldi_folder, read_scp, read_vectors
from intervox.interop.clips import examples, expand, listed, names_in
from intervox.interop.lists import read_entries
from tests.support.damage import damaged

kaldiio = pytest.importorskip("kaldiio")

Spaces = dict[str, NDArray[np.float32]]
NAMES = [f"utt{row:04d}" for row in range(2_345)]


@pytest.fixture(scope="module")
def spaces() -> Spaces:
    """Vectors with the numbers that text formats lose: tiny, huge, whole, negative zero."""
    random = np.random.default_rng(0)
    made = {
        "speaker": random.normal(size=(len(NAMES), 5)).astype(np.float32),
        "content": random.normal(size=(len(NAMES), 3)).astype(np.float32),
    }
    made["speaker"][0] = np.array([1, -0.0, 1e-30, 3e30, 1e-38])
    made["content"][0] = [1e-5, 2, 1 / 3]
    return made


def write(path: Path, spaces: Spaces, names: Iterable[str] = NAMES) -> None:
    with open_writer(path, {space: vectors.shape[1] for space, vectors in spaces.items()}) as writer:
        for row, name in enumerate(names):
            writer.append(name, {space: vectors[row] for space, vectors in spaces.items()})


def assert_bits(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_vectors_come_back_to_the_bit(suffix: str, spaces: Spaces, tmp_path: Path) -> None:
    chosen = spaces if VECTOR_FORMATS[suffix].named else {"speaker": spaces["speaker"]}
    write(tmp_path / f"v{suffix}", chosen)
    names, found = read_vectors(tmp_path / f"v{suffix}")
    assert names == (NAMES if VECTOR_FORMATS[suffix].named else [str(row) for row in range(len(NAMES))])
    assert set(found) == (set(chosen) if VECTOR_FORMATS[suffix].named else {"embedding"})
    for space, vectors in found.items():
        assert_bits(vectors, chosen.get(space, chosen["speaker"]))
    assert not list(tmp_path.glob(".*"))


def test_numpy_opens_what_is_numpys(spaces: Spaces, tmp_path: Path) -> None:
    write(tmp_path / "v.npy", {"speaker": spaces["speaker"]})
    assert_bits(np.load(tmp_path / "v.npy", allow_pickle=False), spaces["speaker"])
    write(tmp_path / "v.npz", spaces, [*NAMES[:-1], "ein längerer Näme"])
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert set(file.files) == {"path", "embedding.speaker", "embedding.content"}
        assert file["path"].tolist() == [*NAMES[:-1], "ein längerer Näme"]
        assert_bits(file["embedding.content"], spaces["content"])


def test_the_same_vectors_are_the_same_bytes_at_any_time(spaces: Spaces, tmp_path: Path) -> None:
    write(tmp_path / "v.npz", spaces)
    with zipfile.ZipFile(tmp_path / "v.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_kaldis_own_reader_opens_what_is_kaldis(spaces: Spaces, tmp_path: Path) -> None:
    one = {"speaker": spaces["speaker"]}
    for suffix in (".ark", ".txt", ".scp"):
        write(tmp_path / f"one{suffix}", one)
        write(tmp_path / f"two{suffix}", spaces)
    archives = {
        "one.txt": "speaker", "two.speaker.txt": "speaker", "two.content.txt": "content",
        "one.ark": "speaker", "two.speaker.ark": "speaker", "two.content.ark": "content",
    }  # fmt: skip
    for archive, space in archives.items():
        read = list(kaldiio.load_ark(str(tmp_path / archive)))
        assert [name for name, _ in read] == NAMES
        assert_bits(np.stack([vector for _, vector in read]), spaces[space])
    for index, space in {"one.scp": "speaker", "two.content.scp": "content"}.items():
        lazily = kaldiio.load_scp(str(tmp_path / index))
        assert list(lazily) == NAMES
        for row in (0, 1, len(NAMES) - 1):
            assert_bits(lazily[NAMES[row]], spaces[space][row])
    assert (tmp_path / "one.txt").read_text().splitlines()[0].startswith("utt0000 [ 1.00000000 -0.0000")


def test_datasets_open_parquet(spaces: Spaces, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write(tmp_path / "v.parquet", spaces)
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "v.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.features["embedding.speaker"].length == 5
    assert loaded["path"][:] == NAMES
    assert_bits(np.array(loaded.with_format("numpy")["embedding.content"][:]), spaces["content"])


@pytest.mark.parametrize("suffix", [suffix for suffix, form in VECTOR_FORMATS.items() if form.frames])
def test_frames_are_kept_clip_by_clip(suffix: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    clips = {f"u{n}": random.normal(size=(n, 4)).astype(np.float32) for n in (3, 1, 7)}
    with open_writer(tmp_path / f"f{suffix}", {"content": 4}, frames=True) as writer:
        for name, frames in clips.items():
            writer.append(name, {"content": frames})
    found = dict(read_frames(tmp_path / f"f{suffix}"))
    assert list(found) == list(clips)
    for name, frames in clips.items():
        assert_bits(np.asarray(found[name], np.float32).reshape(-1, 4), frames)
    with pytest.raises(IntervoxError, match="frames|no vector"):
        read_vectors(tmp_path / f"f{suffix}")


def read_frames(path: Path) -> Iterator[tuple[str, object]]:
    """By each format's own reader."""
    if path.suffix == ".jsonl":
        return ((line["clip"], line["frames"]) for line in map(json.loads, path.read_text().splitlines()))
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return zip(table["path"].to_pylist(), table["embedding.content"].to_pylist(), strict=True)
    if path.suffix == ".scp":
        return iter(kaldiio.load_scp(str(path)).items())
    archive: Iterator[tuple[str, object]] = kaldiio.load_ark(str(path))
    return archive


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_an_interrupted_write_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{suffix}"
    write(path, {"speaker": np.ones((2, 4), np.float32)}, ["a", "b"])
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def rows() -> Iterator[str]:
        yield "c"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, {"speaker": np.zeros((2, 4), np.float32)}, rows())
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_million_numbers_wait_on_disk_and_not_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    vector = {"speaker": np.ones(1_000, np.float32)}
    for suffix in (".npy", ".npz", ".ark", ".jsonl"):
        tracemalloc.start()
        with open_writer(tmp_path / f"v{suffix}", {"speaker": 1_000}) as writer:
            for row in range(1_000):
                writer.append(str(row), vector)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_500_000, suffix


def test_evaluate_reads_what_embed_wrote(spaces: Spaces, tmp_path: Path) -> None:
    from intervox.evaluation.embeddings import read_embeddings

    write(tmp_path / "v.npz", spaces)
    given = read_embeddings(tmp_path / "v.npz")
    assert given.factors == {"speaker": "speaker", "content": "content"}
    assert given.columns["path"].tolist() == NAMES


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("v.npy", "holds one space"), ("v.csv", "no known format"), ("v", "ending in .npy"), ("", "no known")],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    name: str, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(IntervoxError, match=complaint), open_writer(tmp_path / name, {"a": 2, "b": 2}):
        raise AssertionError("it was opened")
    assert not list(tmp_path.iterdir())


def test_a_row_of_another_shape_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"u: a has shape \(3,\)"),
        open_writer(tmp_path / "v.npy", {"a": 2}) as writer,
    ):
        writer.append("u", {"a": np.zeros(3, np.float32)})


def test_kaldi_names_have_no_spaces(tmp_path: Path) -> None:
    for suffix in (".ark", ".txt", ".scp"):
        with pytest.raises(IntervoxError, match="give the clips by --list"):
            write(tmp_path / f"v{suffix}", {"a": np.ones((1, 2), np.float32)}, ["my clip.wav"])
    assert not list(tmp_path.iterdir())


def test_without_kaldiio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldiio", None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[kaldi\]"):
        write(tmp_path / "v.ark", {"a": np.ones((1, 2), np.float32)}, ["u"])


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def test_nothing_in_a_file_of_vectors_is_executed(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    (tmp_path / "v.ark").write_bytes(b"u1 PKL" + bomb)
    (tmp_path / "v.scp").write_text(f"u1 touch {tmp_path}/exploded |\n")
    (tmp_path / "w.scp").write_text(f"u1 {tmp_path}/v.ark:3\n")
    np.save(tmp_path / "v.npy", np.array([Bomb(tmp_path / "exploded")]), allow_pickle=True)
    np.savez(tmp_path / "v.npz", embedding=np.array([[Bomb(tmp_path / "exploded")]]))
    for name in ("v.ark", "v.scp", "w.scp", "v.npy", "v.npz"):
        with pytest.raises(IntervoxError):
            read_vectors(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_broken_files_get_a_sentence(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"v{suffix}"
    with pytest.raises(IntervoxError, match="missing"):
        read_vectors(path)
    cut, ragged = b"u \0BFV \x04\x02", b"u [ 1.0 2.0 ]\nw [ 1.0 ]\n"
    for content in (b"no vectors at all", b"\x00\xff\xfe", cut, ragged):
        path.write_bytes(content)
        with pytest.raises(IntervoxError, match=path.name):
            read_vectors(path)


@pytest.mark.parametrize("suffix", VECTOR_FORMATS)
def test_damaged_files_are_vectors_or_a_sentence(suffix: str, spaces: Spaces, tmp_path: Path) -> None:
    path = tmp_path / f"v{suffix}"
    write(path, spaces if VECTOR_FORMATS[suffix].named else {"speaker": spaces["speaker"]})
    (path,) = [path] if path.exists() else sorted(tmp_path.glob(f"v.speaker{suffix}"))
    content = path.read_bytes()
    for seed in range(40):
        path.write_bytes(damaged(content, np.random.default_rng(seed)))
        with suppress(IntervoxError):
            read_vectors(path)


def test_json_lines_that_lack_a_space_are_refused(tmp_path: Path) -> None:
    whole = [
        {"clip": c, "space": s, "vector": [0.5, 1.0]} for c in ("a", "b") for s in ("speaker", "content")
    ]
    for missing in range(4):
        lines = [json.dumps(line) for number, line in enumerate(whole) if number != missing]
        (tmp_path / "v.jsonl").write_text("\n".join(lines))
        with pytest.raises(IntervoxError, match="lacks a space"):
            read_vectors(tmp_path / "v.jsonl")


def test_wav_scp_is_a_list_of_clips(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("u1 a.wav\n\nu2\tfolder/my clip.wav  \n")
    assert list(read_scp(tmp_path / "wav.scp")) == [("u1", "a.wav"), ("u2", "folder/my clip.wav")]
    (tmp_path / "wav.scp").write_text("u1\n")
    with pytest.raises(IntervoxError, match="line 1 is 'u1' alone"):
        list(read_scp(tmp_path / "wav.scp"))
    with pytest.raises(IntervoxError, match=r"none\.scp is missing"):
        list(read_scp(tmp_path / "none.scp"))


@pytest.mark.parametrize("command", ["sph2pipe -f wav x.sph |", "| cat a.wav", "cat a.wav |  "])
def test_commands_in_lists_are_never_run(command: str, tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text(f"u0 a.wav\nu1 {command}\n".replace("u1 |", "|"))
    with pytest.raises(IntervoxError, match="line 2 is a shell command, which is never run"):
        list(read_scp(tmp_path / "wav.scp"))
    with pytest.raises(IntervoxError, match="never run"):
        list(read_entries([command], "standard input", alone=True))


def test_lines_are_paths_or_names_with_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my clip.wav").touch()
    Path("b.wav").touch()
    lines = io.StringIO("a.wav\nmy clip.wav\n\nu1 b.wav\n")
    found = read_entries(lines, "standard input", alone=True)
    assert next(found) == ("a.wav", "a.wav")
    assert lines.read(1) == "m", "the second line was read before it was asked for"
    lines.seek(0)
    pairs = [("a.wav", "a.wav"), ("my clip.wav", "my clip.wav"), ("u1", "b.wav")]
    assert list(read_entries(lines, "standard input", alone=True)) == pairs


def test_a_kaldi_folder_gives_clips_and_speakers(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("u2 b.wav\nu1 a.wav\n")
    (tmp_path / "utt2spk").write_text("u1 alice\nu2 bob\n")
    assert read_kaldi_folder(tmp_path) == (["b.wav", "a.wav"], ["bob", "alice"])
    (tmp_path / "utt2spk").write_text("u1 alice\n")
    with pytest.raises(IntervoxError, match="utt2spk lacks u2"):
        read_kaldi_folder(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_have_no_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    for name in ("list.txt", "wav.scp"):
        (tmp_path / name).write_text("u1 a.wav\nu2 b.wav\n", encoding=encoding)
    assert list(read_scp(tmp_path / "wav.scp")) == [("u1", "a.wav"), ("u2", "b.wav")]
    clips, count = listed(str(tmp_path / "list.txt"))
    assert [path for _, path in clips] == ["u1 a.wav", "u2 b.wav"]
    assert count == 2


def test_a_listed_path_is_found_in_its_other_form_or_shown_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my cafe\u0301.wav").touch()
    lines = ["my caf\u00e9.wav", "u1 my caf\u00e9.wav", "my lost clip.wav"]
    assert list(read_entries(lines, "a list", alone=True)) == [
        ("my caf\u00e9.wav", "my cafe\u0301.wav"),
        ("u1", "my cafe\u0301.wav"),
        ("my lost clip.wav", "my lost clip.wav"),
    ]
    assert expand(["my caf\u00e9.wav"]) == ["my cafe\u0301.wav"]


@pytest.mark.parametrize("folder", ["words", "words/yes"])
def test_what_systems_leave_among_examples_is_skipped(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words/yes").mkdir(parents=True)
    Path("words/nobody").mkdir()
    for name in ("1.wav", "._1.wav", "Thumbs.db", ".DS_Store"):
        Path("words/yes", name).touch()
    with pytest.warns(
        IntervoxWarning, match=f"skipped [34] entries that are not clips in {folder}"
    ) as warned:
        assert examples([folder]) == {"yes": ["words/yes/1.wav"]}
    assert len(warned) == 1
    clutter = {f"words/yes/{name}" for name in ("._1.wav", "Thumbs.db", ".DS_Store")}
    assert names_in(Path("words")) == ({"yes": ["words/yes/1.wav"]}, ANY)
    assert set(names_in(Path("words"))[1]) == clutter | {"words/nobody"}
