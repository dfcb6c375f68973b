"""What the site takes from elsewhere: the fields of recipes, tables of other pages, pages of the repository.

MkDocs calls ``on_page_markdown`` for every page. The line ``{{ recipe }}`` becomes one section for each part
of the recipe, from its schema; ``<!-- table PAGE#SECTION -->``, which shows as nothing where Markdown is read
as it is, becomes the first table of that section.
"""

import inspect
import json
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from intervox.recipe import Recipe
from intervox.recipe.parts import Part

DOCS = Path(__file__).parent
RECIPE = "{{ recipe }}"
TABLE = re.compile(r"<!-- table ([\w/-]+\.md)#([\w-]+) -->")
OF_THE_REPOSITORY = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Page of the site to the file at the repository's top."""

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "pattern": "pattern"}
_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "none"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie at the repository's top."""
    for page, name in OF_THE_REPOSITORY.items():
        text = (DOCS.parent / name).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        text = re.sub(r"\[([^\]]+)\]\(LICENSE\)", r"\1", text)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the recipe's tables, and tables of other pages, where a page asks for them."""
    markdown = TABLE.sub(lambda found: table_of(DOCS / found[1], found[2]), markdown)
    return markdown.replace(RECIPE, recipe_reference()) if RECIPE in markdown else markdown


def table_of(page: Path, section: str) -> str:
    """Return the first table of a section.

    Raises
    ------
    LookupError
        There is no such section, or no table in it.
    """
    parts = re.split(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        if slugify(title, "-") == section and (
            found := re.search(r"^\|.*\n(?:\|.*\n?)+", text, re.MULTILINE)
        ):
            return found[0]
    raise LookupError(f"{page.name} has no table under {section!r}")


def recipe_reference() -> str:
    """Describe every part of the recipe: its docstring, then its fields with type, bounds and default."""
    return "\n\n".join(_section(part, places) for part, places in parts(Recipe).items())


def parts(model: type[BaseModel], place: str = "") -> dict[type[BaseModel], list[str]]:
    """Find a model and all that its fields hold, with where each stands in the YAML."""
    found = {model: [place]}
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            below = ".".join(filter(None, (place, name)))
            if typing.get_origin(field.annotation) is dict:
                below += ".<name>"
            if typing.get_origin(field.annotation) is tuple:
                below += f", name: {typing.get_args(inner.model_fields['name'].annotation)[0]}"
            for part, places in parts(inner, below).items():
                found.setdefault(part, []).extend(places)
    return found


def _section(part: type[BaseModel], places: list[str]) -> str:
    title = "## " + (", ".join(f"`{place}`" for place in places) if places != [""] else "At the top")
    rows = ["| field | type | default |", "|---|---|---|"]
    for name, field in part.model_fields.items():
        rows.append(f"| `{name}` | {_type(field)} | {_default(field)} |")
    inherited = [base for base in part.__mro__[1:-1] if issubclass(base, Part) and base is not Part]
    about = [inspect.cleandoc(one.__doc__ or "").replace("``", "`") for one in (part, *inherited)]
    return "\n\n".join((title, *about, "\n".join(rows)))


def _type(field: FieldInfo) -> str:
    return ", ".join([_name(field.annotation), *_bounds(field.metadata)])


def _bounds(constraints: typing.Iterable[Any]) -> list[str]:
    """Say the bounds among an annotation's metadata, also those inside a ``Field``."""
    said = []
    for one in constraints:
        if isinstance(one, FieldInfo):
            said += _bounds(one.metadata)
        for key, sign in _BOUNDS.items():
            if (bound := getattr(one, key, None)) is not None:
                said.append(f"`{sign} {bound}`")
    return said


def _name(annotation: Any) -> str:
    """Say a type in the words of somebody who writes YAML."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Annotated:
        return ", ".join([_name(inner[0]), *_bounds(inner[1:])])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_name, inner)))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"{len(inner)} × {_name(inner[0])}"
    if origin in (tuple, list):
        return f"list of {_name(inner[0])}"
    if origin is dict:
        return f"{_name(inner[0])}, each to {_name(inner[1])}"
    return "a part, below" if issubclass(annotation, BaseModel) else annotation.__name__.lower()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    plain = _plain(field.default)
    if plain == {}:
        return "as below"
    return "none" if plain is None else f"`{json.dumps(plain, ensure_ascii=False, default=str)}`"


def _plain(value: Any) -> Any:
    """Reduce a default to what differs from the defaults of the parts that it is made of."""
    if isinstance(value, BaseModel):
        named = {"name": value.name} if hasattr(value, "name") else {}
        return named | value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models inside an annotation."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in typing.get_args(annotation) for model in _models(inner)]
