"""Anyone's vectors from an ``.npz`` file: what is read, what is joined, and what is refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError

from intervox.errors import IntervoxError
from intervox.evaluation import test_sets
from intervox.evaluation.embeddings import Embeddings, check_space, embedding_test_sets, read_embeddings
from intervox.evaluation.findings import ProtocolAbout
from intervox.evaluation.protocols import Protocol, find_protocols
from intervox.evaluation.separation import SpaceEvidence
from intervox.metrics.trials import PAIR_COLUMNS, STRATA
from intervox.recipe import Recipe
from intervox.recipe.training import SubspaceSettings

Arrays = dict[str, Any]
SPEAKERS, WORDS, TAKES = 4, 3, 2
CELLS = [(s, w, t) for s in range(SPEAKERS) for w in range(WORDS) for t in range(TAKES)]
ROWS = len(CELLS)


def small(**changes: Any) -> Arrays:
    """Make vectors whose first number is their row, with labels; None takes an array away."""
    vectors = np.random.default_rng(0).normal(size=(ROWS, 5))
    vectors[:, 0] = np.arange(ROWS)
    arrays = {
        "embedding": vectors,
        "speaker": [f"s{s}" for s, _, _ in CELLS],
        "content": [f"w{w}" for _, w, _ in CELLS],
    }
    return {name: value for name, value in (arrays | changes).items() if value is not None}


def read(folder: Path, arrays: Arrays) -> Embeddings:
    np.savez(folder / "mine.npz", **arrays)
    return read_embeddings(folder / "mine.npz")


def joined(folder: Path, arrays: Arrays, *protocols: Protocol) -> list[test_sets.TestSet]:
    return embedding_test_sets(read(folder, arrays), protocols, 1000)


def stored(found: test_sets.TestSet, condition: str = "clean", space: str = "embedding") -> list[int]:
    """Return the file's row behind each clip of a view."""
    view = found.views[condition]
    return [round(float(row[0, 0])) for row in view.features[space].rows(view.stored)]


def copies(names: list[str], *conditions: str) -> Arrays:
    """Make a file whose rows are there under every condition."""
    rows = np.tile(np.arange(len(names)), len(conditions))
    arrays = {name: np.asarray(values)[rows] for name, values in small().items() if name != "embedding"}
    vectors = np.random.default_rng(0).normal(size=(len(rows), 5))
    vectors[:, 0] = np.arange(len(rows))
    condition = np.repeat(conditions, len(names))
    return arrays | {"embedding": vectors, "path": np.asarray(names)[rows], "condition": condition}


NAMES = [f"{row:02d}.wav" for row in range(ROWS)]


def test_several_spaces_and_every_kind_of_column(tmp_path: Path) -> None:
    spaces = {
        "embedding.speaker": np.ones((ROWS, 3), np.float16),
        "embedding.other": np.eye(ROWS, 7, dtype=int),
    }
    columns = {
        "speaker": [f"Zoë {s}".encode() for s, _, _ in CELLS],
        "content": np.arange(ROWS) % WORDS,
        "duration": np.full(ROWS, 0.5),
    }
    given = read(tmp_path, spaces | columns)
    assert given.name == "mine"
    assert {name: (str(v.dtype), v.shape) for name, v in given.spaces.items()} == {
        "speaker": ("float32", (ROWS, 3)),
        "other": ("float32", (ROWS, 7)),
    }
    assert given.factors == {"speaker": "speaker", "other": ""}
    assert [space.name for space in given.representations()] == ["speaker", "other"]
    assert given.columns["speaker"][0] == "Zoë 0"
    assert given.columns["content"][:4].tolist() == ["0", "1", "2", "0"]
    (found,) = embedding_test_sets(given, [], 1000)
    for space in given.representations():
        vectors = space.vectors(found, "clean")
        np.testing.assert_allclose(
            np.linalg.norm(vectors, axis=1), given.spaces[space.name].any(axis=1), 1e-5
        )
    assert found.about() == ProtocolAbout(
        clips=ROWS, failed=0, speakers=SPEAKERS, contents=WORDS, hours=round(ROWS / 7200, 3), languages=[],
        licence="as its owner states",
    )  # fmt: skip


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for name in ("embedding", "speaker", "further"):
        with pytest.raises(IntervoxError, match="no.* readable .npz of plain arrays .*allow_pickle"):
            read(tmp_path, small(**{name: np.array([Trap(sprung)] * ROWS, object)}))
    (tmp_path / "mine.npz").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(IntervoxError, match="not a readable .npz of plain arrays"):
        read_embeddings(tmp_path / "mine.npz")
    assert not sprung.exists()


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=r"none.npz is missing: give the path of an .npz file"):
        read_embeddings(tmp_path / "none.npz")
    np.savez_compressed(tmp_path / "whole.npz", **small())
    whole = (tmp_path / "whole.npz").read_bytes()
    np.save(tmp_path / "one.npy", np.ones((3, 3)))
    contents = {
        "empty": b"", "text": b"speaker,content\n", "half": whole[: len(whole) // 2],
        "flipped": whole[:200] + bytes(200) + whole[400:], "one": (tmp_path / "one.npy").read_bytes(),
    }  # fmt: skip
    for name, content in contents.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(IntervoxError, match=rf"{name}.npz is not a readable .npz of plain arrays \(.+\)"):
            read_embeddings(path)
    with pytest.raises(IntervoxError, match="not a readable .npz"):
        read_embeddings(tmp_path)


WIDE = np.full((ROWS, 5), 1e300)
HOLE = np.where(np.arange(ROWS * 5).reshape(ROWS, 5) == 7, np.nan, 1.0)
BROKEN: list[tuple[Arrays, str]] = [
    ({"embedding": None}, r"has no vectors of shape \(clips, dim\): name it embedding or embedding.<space>"),
    ({"embedding": np.ones(ROWS)}, "has no vectors of shape"),
    ({"embedding": np.ones((ROWS, 0))}, "has no vectors of shape"),
    ({"embedding": np.ones((0, 3)), "speaker": [], "content": []}, "has no vectors of shape"),
    ({"vectors": np.ones((ROWS, 2))}, "'vectors' has two dimensions: name a space embedding or"),
    ({"embedding.a.b": np.ones((ROWS, 2))}, "can't be named 'a.b'"),
    ({"embedding.": np.ones((ROWS, 2))}, "can't be named ''"),
    ({"embedding.raw": np.ones((ROWS, 2))}, "can't be named 'raw', which means something else"),
    ({"speaker": ["s"]}, rf"speaker has shape \(1,\), where the embeddings have {ROWS} rows"),
    ({"embedding.more": np.ones((3, 2))}, r"embedding.more has shape \(3, 2\)"),
    ({"embedding.more": np.ones((ROWS, 2, 2))}, r"shape \(24, 2, 2\).*give vectors of shape \(clips, dim\)"),
    ({"rate": np.float32(16_000)}, r"rate has shape \(\)"),
    ({"embedding": HOLE}, "'embedding' contains values that are not finite numbers"),
    ({"embedding": WIDE}, "'embedding' contains values that are not finite numbers"),
    ({"embedding": np.full((ROWS, 2), "x")}, "'embedding' contains values that are not finite numbers"),
    ({"embedding": np.ones((ROWS, 2), complex)}, "'embedding' contains values that are not finite numbers"),
    (
        {"speaker": np.array([b"\xff"] * ROWS)},
        "speaker contains something that is not text: write it as strings",
    ),
]
UNJOINED: list[tuple[Arrays, str]] = [
    ({"speaker": None}, "mine.npz has neither speaker nor path: say whose clips these are"),
    ({"content": None}, "mine.npz lacks the column content: say what is said in each clip"),
    ({"speaker": [""] + ["s"] * (ROWS - 1)}, "rows without a speaker"),
    ({"speaker": ["s"] * ROWS}, "mine needs two speakers at least, and two clips of one of them"),
    ({"speaker": [str(row) for row in range(ROWS)]}, "mine needs two speakers at least, and two clips"),
    ({"duration": ["long"] * ROWS}, "duration holds what is no length of time: give seconds"),
    ({"duration": [np.nan] * ROWS}, "duration holds what is no length of time"),
    ({"duration": [-1.0] * ROWS}, "duration holds what is no length of time"),
    ({"path": ["a.wav"] * ROWS}, "mine.npz has a.wav twice under the condition clean"),
    ({"condition": ["noisy"] * ROWS, "path": NAMES}, "mine.npz has no row whose condition is clean"),
    ({"condition": ["clean", *["noisy"] * (ROWS - 1)]}, "has conditions but no path"),
    ({"condition": ["clean", *["../x"] * (ROWS - 1)], "path": NAMES}, "has the condition '../x'"),
    ({"condition": ["clean", *["a@b"] * (ROWS - 1)], "path": NAMES}, "has the condition 'a@b'"),
    ({"condition": ["clean", *["noisy"] * (ROWS - 1)], "path": NAMES}, "01.wav under a condition, but not"),
    ({"speaker": None, "path": NAMES}, "mine.npz has no clip of the protocols: take the paths from"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sentence"), BROKEN)
def test_arrays_that_do_not_belong_together_are_refused(
    changes: Arrays, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(IntervoxError, match=sentence):
        read(tmp_path, small(**changes))


@pytest.mark.parametrize(("changes", "sentence"), UNJOINED)
def test_labels_that_do_not_do_are_refused(changes: Arrays, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=sentence):
        joined(tmp_path, small(**changes))


def test_names_of_spaces() -> None:
    assert [check_space(name) for name in ("speaker", "x-vector_2")] == ["speaker", "x-vector_2"]
    for name in ("", "wav2vec2.0", "a/b", "raw", "residual", *PAIR_COLUMNS, *STRATA):
        with pytest.raises(IntervoxError, match="a space can't be named"):
            check_space(name)


@pytest.mark.parametrize("name", [*PAIR_COLUMNS, *STRATA])
def test_columns_of_trial_files_are_no_subspaces(name: str) -> None:
    with pytest.raises(ValidationError, match="can't be a name"):
        Recipe(subspaces={name: SubspaceSettings(factor="speaker")})


def test_own_labels_are_taken_as_they_are(tmp_path: Path) -> None:
    (found,) = joined(tmp_path, small(gender=["f", "m"] * (ROWS // 2), split=["train"] * ROWS))
    assert (found.name, found.licence, found.failed) == ("mine", "as its owner states", 0)
    assert found.clips.factors == ["speaker", "content", "gender"]
    assert found.clips.split.tolist() == ["train"] * ROWS
    assert {"all", "different_text", "same_text_impostors"} <= set(found.trials)
    assert found.whole == ["clean"]
    assert stored(found) == list(range(ROWS))


def test_clips_without_a_content_are_like_no_other(tmp_path: Path) -> None:
    content = ["", "", *small()["content"][2:]]
    (found,) = joined(tmp_path, small(content=content))
    assert found.clips.contents[:3].tolist() == ["unknown: 0", "unknown: 1", "w1"]
    (found,) = joined(tmp_path, small(content=None, text=content))
    assert found.clips.contents[2] == "w1"
    assert "text" not in found.clips.factors


def test_conditions_are_matched_by_path(tmp_path: Path) -> None:
    arrays = copies(NAMES, "clean", "noisy", "band@0.50")
    order = np.random.default_rng(1).permutation(3 * ROWS)
    shuffled = {name: np.asarray(values)[order] for name, values in arrays.items()}
    (found,) = joined(tmp_path, shuffled)
    assert found.whole == ["clean", "noisy"]
    assert list(found.severities) == ["band@0.50"]
    names = found.clips.paths
    for condition, offset in (("clean", 0), ("noisy", ROWS), ("band@0.50", 2 * ROWS)):
        expected = [NAMES.index(names[row]) + offset for row in found.views[condition].rows]
        assert stored(found, condition) == expected


def test_curves_may_have_fewer_clips_but_all_the_same(tmp_path: Path) -> None:
    arrays = copies(NAMES, "clean", "band@0.50", "noise@0.50")
    kept = np.setdiff1d(np.arange(3 * ROWS), [ROWS, 2 * ROWS + 5])
    (found,) = joined(tmp_path, {name: np.asarray(values)[kept] for name, values in arrays.items()})
    rows = np.setdiff1d(np.arange(ROWS), [0, 5])
    assert found.failed == 0
    for index, condition in enumerate(("band@0.50", "noise@0.50")):
        assert found.views[condition].rows.tolist() == rows.tolist()
        assert stored(found, condition) == (rows + (index + 1) * ROWS).tolist()


def test_a_condition_that_lacks_clips_is_not_left_out_in_silence(tmp_path: Path) -> None:
    arrays = {name: np.asarray(values)[:-1] for name, values in copies(NAMES, "clean", "noisy").items()}
    with pytest.raises(IntervoxError, match=r"lacks 1 of the 24 clips of mine under some condition.*23.wav"):
        joined(tmp_path, arrays)


@pytest.fixture
def protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Protocol:
    """Return 4 speakers × 3 words × 50 takes with a manifest that knows the gender."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    lines = ["path,speaker,content,gender"]
    for s in range(SPEAKERS):
        for index in range(50 * WORDS):
            name = f"{s}-{index:03d}.wav"
            sf.write(folder / name, np.zeros(160), 16_000)
            lines.append(f"{name},ann {s},word {index % WORDS},{'fm'[s % 2]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path / "data"))
    (found,) = find_protocols(("tiny",))
    return found


def by_path(protocol: Protocol, rows: list[int]) -> Arrays:
    vectors = np.random.default_rng(0).normal(size=(len(rows), 4))
    vectors[:, 0] = np.arange(len(rows))
    return {"embedding": vectors, "path": [str(protocol.rows[row].path) for row in rows]}


def test_labels_come_from_the_protocols_by_path(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(protocol.rows)
    (found,) = joined(tmp_path, by_path(protocol, list(range(count))[::-1]), protocol)
    assert (found.name, found.failed, len(found.clips)) == ("tiny", 0, count)
    assert stored(found) == list(range(count))[::-1]
    assert found.clips.labels["gender"].tolist() == [dict(row.labels)["gender"] for row in protocol.rows]
    monkeypatch.chdir(protocol.rows[0].path.parent)
    relative = by_path(protocol, list(range(count)))
    relative["path"] = [Path(path).name for path in relative["path"]] + ["elsewhere.wav"]
    relative["embedding"] = np.ones((count + 1, 4))
    (found,) = joined(tmp_path, relative, protocol)
    assert len(found.clips) == count
    twice = by_path(protocol, [0, *range(count)])
    with pytest.raises(IntervoxError, match="0-000.wav twice under the condition clean"):
        joined(tmp_path, twice, protocol)
    noisy = by_path(protocol, list(range(count))) | {"condition": ["noisy"] * count}
    with pytest.raises(IntervoxError, match="no row whose condition is clean"):
        joined(tmp_path, noisy, protocol)


def test_one_clip_in_a_hundred_may_be_missing(protocol: Protocol, tmp_path: Path) -> None:
    count = len(protocol.rows)
    (found,) = joined(tmp_path, by_path(protocol, list(range(6, count))), protocol)
    assert (found.failed, len(found.clips)) == (6, count - 6)
    assert found.clips.paths[0] == str(protocol.rows[6].path)
    assert max(int(trials.targets.max()) for trials in found.trials.values()) < count - 6
    with pytest.raises(
        IntervoxError, match=r"mine.npz lacks 7 of the 600 clips of tiny .*more than 1%.*0-000.wav"
    ):
        joined(tmp_path, by_path(protocol, list(range(7, count))), protocol)


def test_further_factors_reach_the_separation_matrix(tmp_path: Path) -> None:
    speakers, takes = 8, 12
    who = np.repeat(np.arange(speakers), takes)
    gender = who % 2
    random = np.random.default_rng(0)
    told = np.stack([gender - 0.5, 0.1 * random.normal(size=len(who))], axis=1)
    arrays = {
        "embedding.told": told,
        "embedding.untold": random.normal(size=(len(who), 4)),
        "speaker": [f"s{s}" for s in who],
        "content": [f"w{index % 3}" for index in range(len(who))],
        "gender": np.array(["f", "m"])[gender],
    }
    given = read(tmp_path, arrays)
    (found,) = embedding_test_sets(given, [], 1000)
    matrix = SpaceEvidence(given.representations()).measure(found, 20, 1, 1).matrix
    assert set(matrix) == {"speaker", "content", "gender"}
    assert matrix["gender"]["told"].linear.accuracy > 0.95
    assert matrix["gender"]["untold"].linear.accuracy < 0.75
    assert matrix["gender"]["told"].information.bits > 0.8
