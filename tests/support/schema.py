"""The part of ``docs/formats.md`` that the models of the results say: ``python -m tests.support.schema``."""

import types
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from intervox.evaluation.findings import Cell
from intervox.evaluation.results import (
    Ingredients,
    LikeForLike,
    Metrics,
    PaperRun,
    RawLayers,
    Spaces,
    Sweep,
)
from intervox.metrics.bootstrap import Interval

PAGE = Path("docs/formats.md")
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
PLAIN = {
    float: "number",
    int: "whole number",
    bool: "`true` or `false`",
    str: "text",
    Interval: "`[low, high]` or text",
    Cell: "two texts",
}


def described() -> str:
    """Describe the files field by field, and every model that they lead to."""
    parts = []
    seen: set[str] = set()
    for document in (Metrics, Ingredients, Sweep, PaperRun, LikeForLike):
        waiting: list[type[BaseModel]] = [document]
        while waiting:
            model = waiting.pop(0)
            if model.__name__ not in seen:
                seen.add(model.__name__)
                parts.append(_table(model, "###" if model is document else "####"))
                waiting += [
                    each for field in model.model_fields.values() for each in _models(field.annotation)
                ]
    return "\n".join(parts)


def insert(page: str) -> str:
    """Replace what stands between the marks of a page."""
    head, rest = page.split(BEGIN)
    return head + BEGIN + "\n" + described() + "\n" + END + rest.split(END)[1]


def _table(model: type[BaseModel], level: str) -> str:
    rows = [
        f"| `{field.alias or name}` | {_holds(field.annotation)} | {_line(field.description)} |"
        for name, field in model.model_fields.items()
    ]
    title = model.__name__ if level == "####" else (model.__doc__ or "").partition(":")[0]
    return "\n".join(
        [
            f"{level} {title}",
            "",
            _line(model.__doc__),
            "",
            "| key | holds | what |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _leaves(annotation: Any) -> list[Any]:
    """What an annotation leads to through mappings by name, options and the levels of spaces."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in PLAIN:
        return [annotation]
    if origin in (types.UnionType, typing.Union):
        return [leaf for each in inner if each is not type(None) for leaf in _leaves(each)]
    if origin is dict:
        return _leaves(inner[1])
    if isinstance(annotation, type) and issubclass(annotation, Spaces | RawLayers):
        inner = annotation.__pydantic_generic_metadata__["args"]
        return list(dict.fromkeys(leaf for each in inner for leaf in _leaves(each)))
    return [annotation]


def _models(annotation: Any) -> list[type[BaseModel]]:
    found = []
    for leaf in _leaves(annotation):
        inner = typing.get_args(leaf) if typing.get_origin(leaf) is list else (leaf,)
        found += [each for each in inner if isinstance(each, type) and issubclass(each, BaseModel)]
    return found


def _holds(annotation: Any) -> str:
    names = []
    for leaf in _leaves(annotation):
        if leaf in PLAIN:
            names.append(PLAIN[leaf])
        elif typing.get_origin(leaf) is typing.Literal:
            names.append(f"`{typing.get_args(leaf)[0]}`")
        elif typing.get_origin(leaf) is list:
            (each,) = typing.get_args(leaf)
            names.append(f"list of {'lists' if typing.get_origin(each) is tuple else _holds(each)}")
        elif isinstance(leaf, type) and issubclass(leaf, BaseModel):
            names.append(f"[{leaf.__name__}](#{leaf.__name__.lower()})")
        else:
            names.append("any value")
    return ", ".join(names)


if __name__ == "__main__":
    PAGE.write_text(insert(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
