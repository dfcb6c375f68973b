"""Nothing begins that could not end: numbers out of bounds, and plans that the machine can't hold."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from intervox import storage
from intervox.cli import app as cli
from intervox.corpus.cost import check_corpus_fits
from intervox.errors import IntervoxError
from intervox.evaluation.studies.variants import parse_vary
from intervox.recipe import Recipe
from intervox.recipe.corpus import CorpusRecipe
from intervox.storage import check_disk, check_memory
from intervox.training.refine import check_settings
from tests.cli.test_bad_input import is_one_sentence, run_main

PLAN = ("speaker", "content", "condition")


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    group = group or typer.main.get_command(cli.app)
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield (*path, name), one


NUMBERS = [
    pytest.param(path, command, option, id=" ".join((*path, option.opts[0])))
    for path, command in commands()
    for option in command.params
    if option.type_descriptor.annotation in (int, float, list[int], list[float])
]


def test_there_are_numeric_options() -> None:
    assert len(NUMBERS) >= 13


@pytest.mark.parametrize(("path", "command", "option"), NUMBERS)
def test_every_numeric_option_is_finite_and_bounded(
    path: tuple[str, ...], command: Any, option: Any,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = ["x" for one in command.params if one.param_type_name == "argument" and one.required]
    for bad in ("99999999999", "-99999999999", "nan", "inf"):
        code, _, error = run_main(monkeypatch, capsys, *path, *given, option.opts[0], bad)
        assert code == 2
        assert option.opts[0] in error
        assert "Traceback" not in error


def small(**corpus: Any) -> CorpusRecipe:
    return CorpusRecipe.model_validate(corpus)


def test_a_corpus_that_the_disk_can_t_hold_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("corpus: {train: {blocks: 1000000, speakers: 1000, contents: 1000}}")
    for words in (("run", str(recipe)), ("synth", str(recipe))):
        code, _, error = run_main(monkeypatch, capsys, *words, "--folder", str(tmp_path / "run"))
        assert code == 2
        assert is_one_sentence(error)
        assert "2,000,000,000,640 cells" in error or "training cells" in error
        assert "GiB" in error
        assert "corpus.train.blocks" in error
        assert not (tmp_path / "run" / "corpus").exists()
    code, _, error = run_main(monkeypatch, capsys, "corpus", "plan", str(recipe))
    assert code == 2
    assert "the plan of a corpus" in error


def test_what_is_made_already_is_not_needed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small(train={"blocks": 10, "speakers": 10, "contents": 10}, test={"blocks": 0})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4_000_000})())
    with pytest.raises(IntervoxError, match="2,000 cells takes at least 0.0 GiB on disk"):
        check_corpus_fits(recipe, tmp_path / "corpus")
    (tmp_path / "corpus" / "audio").mkdir(parents=True)
    (tmp_path / "corpus" / "audio" / "00000.parquet").write_bytes(bytes(15_000_000))
    check_corpus_fits(recipe, tmp_path / "corpus")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"subspaces": {"speaker": {"factor": "speaker", "dim": 8192}}}, "lower dim or width"),
        ({"corpus": {"train": {"blocks": 1000}}}, "of 128,000 training cells, 6 × 384 numbers each,.*blocks"),
        (
            {
                "corpus": {"train": {"blocks": 1000}},
                "training": {"initialisation": "random", "blocks_per_step": 900},
            },
            "115,200 training cells.* lower training.blocks_per_step",
        ),
    ],
)
def test_a_training_that_memory_can_t_hold_is_not_begun(
    changes: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.model_validate(changes)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "free_memory", lambda: 200_000_000)
        with pytest.raises(IntervoxError, match=complaint):
            check_settings(recipe, 6, 384, PLAN)
    monkeypatch.setattr(storage, "free_memory", lambda: 20_000_000_000)
    check_settings(Recipe(), 6, 384, PLAN)


def test_what_there_is_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        IntervoxError, match=r"it takes at least 931,322\S+ GiB on disk, and \S+ GiB are free"
    ):
        check_disk("it", 1e15, tmp_path / "a" / "b", "free some")
    with pytest.raises(
        IntervoxError, match=r"it takes at least \S+ GiB of memory, and \S+ GiB are free: less"
    ):
        check_memory("it", 1e15, "less")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    monkeypatch.setattr(storage, "_MEMORY_QUOTA", tmp_path)
    assert storage.free_memory() == 600


def test_a_crossing_of_too_many_variants_is_not_begun() -> None:
    many = ",".join(map(str, range(100)))
    with pytest.raises(IntervoxError, match="--vary makes 10,000 variants, more than 1,000"):
        parse_vary([f"training.steps={many}", f"seed={many}"])
    with pytest.raises(IntervoxError, match="--vary seed=9999"):
        parse_vary(["seed=" + "9" * 5000])
