import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from intervox.errors import IntervoxError, plain_problems
from intervox.recipe import Recipe, dump_recipe, load_recipe


@pytest.mark.parametrize("name", ["quickstart", "mini"])
def test_built_in_recipes_survive_being_written_out(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "r.yaml") == recipe


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("corpus: {blokcs: 3}", r"unknown key `corpus\.blokcs`"),
        ("training: {steps: many}", r"`training\.steps` is 'many'"),
        ("training: {steps: -1}", r"`training\.steps` is -1"),
        ("corpus: {engines: [{name: festival}]}", r"unknown engine 'festival': choose from 'espeak'"),
        ("corpus: {conditions: {snr_db: [30, 5]}}", "the lower bound first"),
        ("subspaces: {}", "name at least one"),
        ("subspaces: {raw: {factor: speaker}}", "'raw' can't be a name"),
        ("subspaces: {a: {factor: speaker, layers: [1, 1]}}", "list each layer once"),
        ("subspaces: {a: {factor: speaker, map: mlp}}", "initialisation: random"),
        ("corpus: {engines: [{name: espeak}, {name: espeak}]}", "each once"),
        ("corpus: {train: {blocks: 0}}", "at least 1"),
        ("corpus: {conditions: {level_dbfs: [-10, 6]}}", "from -90 to 0"),
        ("corpus: {conditions: {low_hz: [100, 4000]}}", "low_hz must end below"),
        ("name: ..", "`name` is '..'"),
        ("name: [1", "is not valid YAML"),
        ("- 1", "the recipe must be a mapping"),
    ],
)
def test_a_wrong_recipe_names_the_field(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(IntervoxError, match=complaint):
        load_recipe(path)


def test_unknown_recipes_list_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="default, mini, paper, quickstart"):
        load_recipe("quickstrat")
    with pytest.raises(IntervoxError, match=r"absent\.yaml can't be read"):
        load_recipe(tmp_path / "absent.yaml")


def test_defaults_are_a_whole_recipe() -> None:
    assert set(Recipe().subspaces) == {"speaker", "content"}


def test_no_wrong_value_is_answered_in_words_of_the_schemas_library() -> None:
    """Every field of the recipe is given values of wrong kinds; the message is ours and names the field."""

    def fields(part: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        for name, field in part.model_fields.items():
            yield (*path, name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from fields(field.annotation, (*path, name))

    wrongs: list[Any] = ["", "many", -5, 1e300, math.nan, [], {"a": 1}, [{}], None, True, "x" * 500]
    paths = list(fields(Recipe))
    assert len(paths) > 80
    said = 0
    for path in paths:
        for wrong in wrongs:
            value: Any = wrong
            for name in reversed(path):
                value = {name: value}
            try:
                Recipe.model_validate(value)
            except ValidationError as error:
                text = plain_problems(error, "the recipe")
                assert not re.search(
                    r"should |Input|Field required|type=|valid \w+, unable|wrong value", text
                ), text
                assert len(text) < 500
                said += 1
    assert said > 500
