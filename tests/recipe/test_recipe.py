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
    with pytest.raises(IntervoxError, match="default, mini, neural, own-audio, paper, quickstart"):
        load_recipe("quickstrat")
    with pytest.raises(IntervoxError, match=r"absent\.yaml can't be read"):
        load_recipe(tmp_path / "absent.yaml")


def test_defaults_are_a_whole_recipe() -> None:
    assert set(Recipe().subspaces) == {"speaker", "content"}


# limits

BAD_NUMBERS = (10**15, -(10**15), 1e300, math.inf, -math.inf, math.nan)
ENGINES: dict[str, dict[str, Any]] = {
    "EspeakSettings": {"name": "espeak"},
    "KokoroSettings": {"name": "kokoro"},
    "PiperSettings": {"name": "piper"},
    "RecordingsSettings": {"name": "recordings", "manifest": "a.csv"},
    "UnlabelledSettings": {"name": "unlabelled", "files": "a"},
    "CommandSettings": {"name": "command", "command": ["{text}", "{output}"], "speakers": ["a"]},
    "CloneSettings": {"name": "clone", "references": "a"},
}
ELSEWHERE = ["sweep", "variants", "x", "x"]
"""Values of other fields, which are held to these fields' bounds."""


Step = str | int | dict[str, Any]
"""Towards a value: a key, so many equal members of a list, or what a mapping holds beside it."""


def leaves(
    node: dict[str, Any], definitions: dict[str, Any], path: tuple[Step, ...] = ()
) -> Iterator[tuple[tuple[Step, ...], dict[str, Any]]]:
    """Yield the path and the schema of every number, list and open mapping."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        yield from leaves(definitions[name], definitions, (*path, ENGINES.get(name, {})))
    for one in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from leaves(one, definitions, path)
    kind = node.get("type")
    if kind in ("integer", "number"):
        yield path, node
    if kind == "array":
        yield path, node
        pair = node.get("prefixItems")
        yield from leaves(pair[0] if pair else node["items"], definitions, (*path, 2 if pair else 1))
    for name, part in node.get("properties", {}).items():
        yield from leaves(part, definitions, (*path, name))
    if node.get("additionalProperties"):
        yield path, node
        name = node.get("propertyNames", {}).get("enum", ["x"])[0]
        yield from leaves(node["additionalProperties"], definitions, (*path, name))


def built(path: tuple[Step, ...], value: Any) -> Any:
    for step in reversed(path):
        if isinstance(step, str):
            value = {step: value}
        elif isinstance(step, int):
            value = [value] * step
        elif isinstance(value, dict):
            value = step | value
    return value


def keys(path: tuple[Step, ...]) -> list[str]:
    return [step for step in path if isinstance(step, str)]


SCHEMA = Recipe.model_json_schema()
LEAVES = [leaf for leaf in leaves(SCHEMA, SCHEMA["$defs"]) if keys(leaf[0])[:4] != ELSEWHERE]


def test_every_number_of_a_recipe_is_finite_and_bounded() -> None:
    numbers = [path for path, schema in LEAVES if schema["type"] in ("integer", "number")]
    assert len(numbers) > 80
    for path in numbers:
        for bad in BAD_NUMBERS:
            with pytest.raises(ValidationError) as caught:
                Recipe.model_validate(built(path, bad))
            problems = caught.value.errors()
            assert any(keys(path)[-1] in problem["loc"] for problem in problems), (path, bad, problems)


def test_every_list_of_a_recipe_is_bounded() -> None:
    lists = {".".join(keys(path)): schema for path, schema in LEAVES if schema["type"] in ("array", "object")}
    assert len(lists) > 20
    for path, schema in lists.items():
        bounded = {"maxItems", "maxProperties"} & set(schema)
        assert bounded or "enum" in schema.get("propertyNames", {}), path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("corpus: {train: {blocks: 1000000000000}}", r"`corpus\.train\.blocks` is 10+: .* 1000000"),
        ("corpus: {texts: {count: 1000000000}}", r"`corpus\.texts\.count`.* 100000"),
        ("subspaces: {speaker: {factor: speaker, dim: 1000000}}", r"`subspaces\.speaker\.dim`.* 8192"),
        ("training: {learning_rate: .inf}", r"`training\.learning_rate` is inf: .*finite"),
        ("training: {learning_rate: .nan}", r"`training\.learning_rate`"),
        ("subspaces: {speaker: {factor: speaker, map: attentive}}", r"reads frames: set training\.depth"),
        ("training: {depth: frames}", r"training\.depth: frames needs a subspace with map: attentive"),
        ("training: {depth: whole}", r"`training\.depth` is 'whole': .*'map', 'frames' or 'blocks'"),
        ("seed: 1\nname: a\nseed: 2", "line 3: the key 'seed' comes twice"),
        ("training: {steps: 1, steps: 2}", "line 1: the key 'steps' comes twice"),
        ("", "is empty: set a field, or run one of default"),
        ("# only a comment\n", "is empty"),
        ("{}", "is empty"),
        ("[" * 1000, "line 1: more than .* 16 levels"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", r"line 2: an alias \(\*\): write the values out"),
        ("a: &a [*a]", "an alias"),
        ("subspaces: {a: {factor: speaker, layers: [" + "1," * 6_000 + "]}}", "more than 5,000 values"),
        ("name: " + "a" * 2_000_000, "more than 1,000,000 characters"),
        ("seed: " + "9" * 5000, "line 1: '9+"),
        ("name: 2024-99-99", "line 1: '2024-99-99': month must be in 1..12"),
        ("? [a]\n: 1", "line 1: found unhashable key"),
    ],
)
def test_what_could_not_end_does_not_begin(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(IntervoxError, match=complaint) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


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
