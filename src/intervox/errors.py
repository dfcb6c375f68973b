"""The one exception that is the user's to fix, and the one warning."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


class IntervoxError(Exception):
    """Something the caller can put right.

    The message is one sentence that names the file, field or value and the remedy. The command line
    prints it without a traceback and exits with code 2.
    """


class IntervoxWarning(IntervoxError, UserWarning):  # noqa: N818 - a warning that `--strict` raises
    """Something about the input that the caller should know, though the result holds for what is there."""


UNDECODED = "can't be read in this locale: set PYTHONUTF8=1"


def unreadable_name(name: str) -> str | None:
    """Say why a name can't be used whose bytes Python could not decode, and what to do; None if it can."""
    try:
        name.encode()
        return None
    except UnicodeEncodeError:
        pass
    try:
        os.fsencode(name).decode()
    except UnicodeError:
        return "is not UTF-8: rename the file"
    return UNDECODED


def missing_extra(package: str, extra: str, purpose: str) -> IntervoxError:
    """Say which optional dependency is absent and how to install it."""
    return IntervoxError(
        f"{purpose} needs the package {package!r}, which is not installed: {install_command(extra)}"
    )


def install_command(extra: str) -> str:
    """Return the command that adds an extra to this installation, from where it came.

    An installation from a checkout or a file is not on the package index, where another version, or
    another package, may have the name.
    """
    import json
    import shlex
    from importlib.metadata import distributions
    from urllib.parse import unquote, urlsplit

    # PEP 610. A build leaves metadata beside the sources too, which do not say it.
    records = (found.read_text("direct_url.json") for found in distributions(name="intervox"))
    record = next(filter(None, records), None)
    origin = json.loads(record) if record else {}
    if not origin.get("url"):
        return f"pip install intervox[{extra}]"
    if "dir_info" not in origin:
        return "pip install " + shlex.quote(f"intervox[{extra}] @ {origin['url']}")
    editable = "-e " if origin["dir_info"].get("editable") else ""
    return f"pip install {editable}" + shlex.quote(f"{unquote(urlsplit(origin['url']).path)}[{extra}]")


def missing_train(error: ModuleNotFoundError, purpose: str) -> Exception:
    """Say which package of the extra ``train`` an import lacked; a module of ours is a mistake of ours."""
    package = (error.name or "").split(".")[0]
    return error if package in ("", "intervox") else missing_extra(package, "train", purpose)


_KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "date": "a date",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "iterable": "a list",
    "dict": "a mapping of names to values",
    "mapping": "a mapping of names to values",
    "model": "a mapping of names to values",
    "model_attributes": "a mapping of names to values",
    "dataclass": "a mapping of names to values",
    "path": "a path",
}
"""What pydantic's errors ``<kind>_type`` and ``<kind>_parsing`` ask for."""

_RULES = {
    "missing": "is missing",
    "extra_forbidden": "is unknown: remove it or correct its spelling",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "finite_number": "must be a finite number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "none_required": "must be left out",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be made of letters, digits, '_', '-' and '.', and begin with one of the "
    "first three",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "union_tag_invalid": "unknown engine '{tag}': choose from {expected_tags}",
    "union_tag_not_found": "an engine has a `name`: add it",
    "json_invalid": "is not valid JSON",
}
"""Pydantic's other errors."""


def plain_problem(problem: "ErrorDetails") -> str:
    """Say of a value what pydantic found wrong with it, as the end of a sentence: "must be a number"."""
    kind = problem["type"]
    if str(problem["input"]).lower() == "nan":  # which lies in no range, and below and above none
        return "must be a number"
    context = {name: _number(value) for name, value in problem.get("ctx", {}).items()}
    if kind in _RULES:
        return _RULES[kind].format_map(context)
    wanted = _KINDS.get(kind.removesuffix("_type").removesuffix("_parsing"))
    if wanted:
        return f"must be {wanted}"
    # What our own validators raise says all of it.
    return str(context["error"]) if "error" in context else "has a wrong value"


def plain_problems(error: "ValidationError", whole: str = "the file") -> str:
    """Say in one line what pydantic found wrong, field by field.

    Parameters
    ----------
    whole
        What the fields are of, for what is wrong with no single one.
    """
    return "; ".join(dict.fromkeys(_of_field(problem, whole) for problem in error.errors()))


def _of_field(problem: "ErrorDetails", whole: str) -> str:
    where = ".".join(map(str, problem["loc"]))
    said = plain_problem(problem)
    if problem["type"] in ("value_error", "union_tag_invalid", "union_tag_not_found"):
        return f"`{where}`: {said}" if where else said
    if problem["type"] == "extra_forbidden":
        return f"unknown key `{where}`: remove it or correct its spelling"
    given: Any = problem["input"]
    shown = "" if isinstance(given, dict) or problem["type"] == "missing" else f" is {_short(given)}: it"
    return f"`{where}`{shown} {said}" if where else f"{whole} {said}"


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
