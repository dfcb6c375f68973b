"""What people see of an evaluation: tables, figures, the claim, trials, and the pages."""

from typing import Any

REPORT = "report.html"
"""The page in a run's folder."""


def render(template: str, **values: Any) -> str:
    """Fill a template of ``reporting/page`` with values, escaped; a value that is missing is an error."""
    import jinja2

    from intervox import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intervox.reporting", "page"),
        autoescape=lambda name: name is not None and name.endswith(".jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)
