"""What a run's folder keeps when its recipe changes."""

from pathlib import Path

import pytest

from intervox import open_run

RESULTS = ("metrics.json", "report.html", "evaluation.json", "ingredients.json", "like_for_like.json")
SWEEP = ("sweep.json", "sweep.svg")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("", (*RESULTS, *SWEEP)),
        ("sweep: {variants: {larger steps: {training.learning_rate: 3.0e-4}}}\n", RESULTS),
        ("seed: 1\n", ()),
    ],
    ids=["nothing", "its sweep", "its seed"],
)
def test_results_of_another_recipe_go_and_a_new_variant_takes_only_the_sweep(
    change: str, kept: tuple[str, ...], tmp_path: Path
) -> None:
    recipe, folder = tmp_path / "mine.yaml", tmp_path / "run"
    recipe.write_text("name: mine\n")
    open_run(recipe, folder)
    for name in (*RESULTS, *SWEEP):
        (folder / name).touch()
    recipe.write_text(f"name: mine\n{change}")
    open_run(recipe, folder)
    assert {path.name for path in folder.iterdir()} == {"recipe.yaml", *kept}


@pytest.mark.parametrize("torn", [b"", b"\0\0", b"\xff", b"name: [", b"- mine\n"])
def test_results_beside_a_torn_recipe_go(torn: bytes, tmp_path: Path) -> None:
    recipe, folder = tmp_path / "mine.yaml", tmp_path / "run"
    recipe.write_text("name: mine\n")
    open_run(recipe, folder)
    written = (folder / "recipe.yaml").read_bytes()
    (folder / "metrics.json").touch()
    (folder / "recipe.yaml").write_bytes(torn)
    open_run(recipe, folder)
    assert not (folder / "metrics.json").exists()
    assert (folder / "recipe.yaml").read_bytes() == written
