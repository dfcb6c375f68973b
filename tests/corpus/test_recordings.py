"""Human recordings: the blocks found in them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox.clips.manifest import Row, read_manifest, write_manifest
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.render.synthesis import synthesise
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError
from intervox.evaluation.protocols import READERS, check_protocols_are_kept
from intervox.parallel import Pool
from intervox.recipe import Recipe
from intervox.recipe.corpus import BlockSettings, ConditionSettings, TextSettings
from intervox.recipe.engines import RecordingsSettings
from tests.conftest import Speech
from tests.corpus.test_corpus import ESPEAK, TINY, assert_crossed, by_block


def parallel_corpus(folder: Path, speech: Speech) -> Path:
    """Six people; everyone says three sentences in two sessions, two of them a fourth one."""
    rows = []
    for speaker in range(6):
        for text in ("Good morning.", "good evening", "Fare well!", *(["only two"] if speaker < 2 else [])):
            for session in ("monday", "tuesday"):
                path = folder / f"{speaker}-{text[:6]}-{session}.wav"
                sf.write(path, speech(0.6, hash((speaker, session)) % 1000), 16_000)
                spelling = text.upper() if speaker % 2 else text
                rows.append(Row(path, f"p{speaker}", spelling, session=session))
    write_manifest(folder / "people.csv", rows)
    return folder / "people.csv"


def test_blocks_are_found_in_recordings_whatever_the_spelling(tmp_path: Path, speech: Speech) -> None:
    manifest = parallel_corpus(tmp_path, speech)
    people = RecordingsSettings(name="recordings", manifest=manifest, splits=("train",), blocks=8)
    recipe = TINY.model_copy(
        update={
            "engines": (people,),
            "test": BlockSettings(blocks=0),
            "conditions": ConditionSettings(clean=1),
            "max_failures": 0,
        }
    )
    cells = plan_cells(recipe, 0).to_pylist()
    blocks = by_block(cells)
    assert len(blocks) == 8
    for block in blocks.values():
        assert_crossed(block)
        assert len(block) == 9 * 2
    assert {cell["session"] for cell in cells} == {"monday", "tuesday"}
    corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    clip = corpus.load_shard(0)[0]
    takes = [row.path for row in read_manifest(manifest) if row.speaker == cells[0]["voice"]]
    assert clip.wave is not None
    assert any(np.allclose(sf.read(path)[0], clip.wave, atol=1e-3) for path in takes)
    exact = people.model_copy(update={"match": "exact"})
    for block in by_block(
        plan_cells(recipe.model_copy(update={"engines": (exact,)}), 0).to_pylist()
    ).values():
        assert len({int(cell["voice"][1]) % 2 for cell in block}) == 1


def test_another_take_is_tried_and_its_session_is_the_label(tmp_path: Path, speech: Speech) -> None:
    rows = []
    for speaker in ("ann", "bob"):
        for text in ("see you later", "good evening"):
            for session in ("good", "silent"):
                path = tmp_path / f"{speaker}-{text}-{session}.wav"
                sf.write(path, speech(0.9, 1) * (session == "good"), 16_000)
                rows.append(Row(path, speaker, text, session=session))
    write_manifest(tmp_path / "m.csv", rows)
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv", splits=("train",), blocks=6)
    recipe = TINY.model_copy(update={"engines": (people,), "test": BlockSettings(blocks=0)})
    corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    made = corpus.read_shard(0, ["session", "attempt", "error"]).to_pylist()
    assert {row["session"] for row in made} == {"good"}
    assert set(corpus.cells["session"].to_pylist()) == {"good"}
    assert {row["attempt"] for row in made} == {0, 1}
    assert corpus.failed == 0


def test_exact_spellings_of_one_text_stay_in_one_split_and_one_place(tmp_path: Path, speech: Speech) -> None:
    rows = []
    for speaker in range(12):
        for text in range(8):
            for spelling in (f"text number {text}", f"Text number {text}!"):
                path = tmp_path / f"{speaker}-{spelling}.wav"
                sf.write(path, speech(0.5, 0), 16_000)
                rows.append(Row(path, f"p{speaker}", spelling))
    write_manifest(tmp_path / "m.csv", rows)
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv", match="exact", blocks=4)
    for seed in range(5):
        cells = plan_cells(TINY.model_copy(update={"engines": (people,), "copies": 1}), seed).to_pylist()
        for block in by_block(cells).values():
            assert_crossed(block)
        train, test = ({c["content"] for c in cells if c["split"] == split} for split in ("train", "test"))
        assert test
        assert not train & test


def test_a_speaker_of_two_languages_is_refused(tmp_path: Path, wav: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav.read_bytes())
    rows = [Row(path, "ann", "taxi", language=tag) for path, tag in ((wav, "de"), (other, "en"))]
    write_manifest(tmp_path / "m.csv", rows)
    with pytest.raises(IntervoxError, match="'ann' in two languages"):
        load_engine(RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv"))


def test_recordings_that_are_evaluated_do_not_train(corpora: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", READERS["fsdd"].read(corpora / "fsdd")[:50])
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv")
    settings = TextSettings(count=60, protocol_texts=True)
    recipe = Recipe(corpus=TINY.model_copy(update={"engines": (ESPEAK, people), "texts": settings}))
    with pytest.raises(IntervoxError, match="trains on 50 recordings that are also evaluated"):
        check_protocols_are_kept(recipe)


def test_recordings_without_a_shared_text_say_so(tmp_path: Path, speech: Speech) -> None:
    rows = [Row(tmp_path / f"{index}.wav", f"p{index}", f"text {index}") for index in range(4)]
    for row in rows:
        sf.write(row.path, speech(0.5, 0), 16_000)
    write_manifest(tmp_path / "m.csv", rows)
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv", splits=("train",))
    recipe = TINY.model_copy(update={"engines": (people,), "test": BlockSettings(blocks=0)})
    with pytest.raises(IntervoxError, match="no two train speakers who say the same two texts"):
        plan_cells(recipe, 0)


def test_the_digits_of_fsdd_are_blocks(corpora: Path, tmp_path: Path) -> None:
    if not (corpora / "fsdd").is_dir():
        pytest.skip("fsdd is not among the human recordings")
    rows = READERS["fsdd"].read(corpora / "fsdd")
    write_manifest(tmp_path / "fsdd.csv", rows)
    people = RecordingsSettings(
        name="recordings", manifest=tmp_path / "fsdd.csv", splits=("train",), blocks=3
    )
    recipe = TINY.model_copy(
        update={
            "engines": (people,),
            "train": BlockSettings(blocks=1, speakers=6, contents=5),
            "test": BlockSettings(blocks=0),
            "copies": 1,
        }
    )
    corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    cells = corpus.cells.to_pylist()
    for block in by_block(cells).values():
        assert_crossed(block)
        assert len(block) == 6 * 5
    assert {cell["speaker"] for cell in cells} == {f"recordings:{row.speaker}" for row in rows}
    uses = Counter(cell["text"] for cell in cells)
    assert set(uses) <= {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert max(uses.values()) <= 2 * min(uses.values())
    assert corpus.failed == 0
