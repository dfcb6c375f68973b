"""Several commands in one recipe, and the default recipe, which validates on seven of them."""

import shutil
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from intervox.corpus.plan.design import plan_cells
from intervox.recipe import load_recipe
from intervox.recipe.corpus import BlockSettings, CorpusRecipe, TextSettings
from intervox.recipe.engines import CommandSettings


def command(**changes: Any) -> CommandSettings:
    values: dict[str, Any] = {
        "name": "command",
        "command": ("true", "{text}", "{output}"),
        "speakers": ("s0", "s1", "s2", "s3"),
    }
    return CommandSettings(**values | changes)


def test_commands_are_told_apart_by_their_labels() -> None:
    recipe = CorpusRecipe(
        engines=(command(label="flite"), command(label="festival-cs", language="cs")),
        texts=TextSettings(count=40),
        train=BlockSettings(blocks=4, speakers=4, contents=3),
        test=BlockSettings(blocks=0),
    )
    cells = plan_cells(recipe, 0).to_pylist()
    assert {(c["engine"], c["language"]) for c in cells} == {("flite", "en"), ("festival-cs", "cs")}
    assert {c["speaker"] for c in cells if c["language"] == "cs"} == {f"festival-cs:s{i}" for i in range(4)}
    assert all(c["speaker"] == f"{c['engine']}:{c['voice']}" for c in cells)


def test_two_commands_of_one_label_are_refused() -> None:
    with pytest.raises(ValidationError, match="several commands each need a `label`"):
        CorpusRecipe(engines=(command(), command(language="cs")))
    with pytest.raises(ValidationError, match="label"):
        command(label="Festival/cs")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite is not installed")
def test_the_neural_recipe_trains_on_neural_voices_and_validates_on_fifteen_people() -> None:
    cells = plan_cells(load_recipe("neural").corpus, 0).to_pylist()
    trained = Counter(cell["engine"] for cell in cells if cell["split"] == "train")
    assert trained["kokoro"] >= trained.total() / 2
    held = [cell for cell in cells if cell["split"] == "validation"]
    assert not {cell["engine"] for cell in held} & set(trained)
    people = {cell["speaker"] for cell in held if not cell["transformation"]}
    assert len(people) == 15
    # festival's recordings of people whom flite has too
    assert not {"kal_diphone", "cmu_us_slt_arctic_hts"} & {cell["voice"] for cell in held}
