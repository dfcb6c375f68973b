"""Draw docs/layers.svg from the contract that ``make lint`` checks: the layers of the code, top to bottom.

Every package stands with the first sentence of its docstring, so picture and code can't part ways.
"""

import ast
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "layers.svg"

WIDTH, ROW, GAP, NAME = 960, 34, 6, 190
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1b1f24 }
.name { font-weight: 600 }
rect { fill: #eef3f8; stroke: #9aa3ad }
@media (prefers-color-scheme: dark) { text { fill: #e6e9ec } rect { fill: #22303c; stroke: #5b6773 } }
"""


def layers(pyproject: str) -> list[list[str]]:
    """Read the packages of every layer, the highest first."""
    contracts = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def purpose(name: str) -> str:
    """Return the first sentence of a package's or module's docstring."""
    place = ROOT / "src" / "intervox" / name
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    said = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return said.splitlines()[0].rstrip(".").replace("``", "")


def picture(pyproject: str) -> str:
    """Draw the layers as SVG: whatever stands lower may be imported, nothing that stands higher."""
    rows = [(name, place) for place, layer in enumerate(layers(pyproject)) for name in layer]
    drawn, top = [], GAP
    for index, (name, place) in enumerate(rows):
        # Packages of one layer touch.
        top += GAP if index and place != rows[index - 1][1] else 0
        drawn.append(
            f'<rect x="1" y="{top}" width="{WIDTH - 2}" height="{ROW}" rx="4"/>'
            f'<text class="name" x="14" y="{top + 22}">{escape(name)}</text>'
            f'<text x="{NAME}" y="{top + 22}">{escape(purpose(name))}</text>'
        )
        top += ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + GAP}" role="img">\n'
        "<title>The layers of intervox: each may import only what stands below it</title>\n"
        f"<style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(picture((ROOT / "pyproject.toml").read_text(encoding="utf-8")), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
