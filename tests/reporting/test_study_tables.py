"""Sweeps and ingredients as tables and as a plot."""

from intervox.evaluation.findings import ProtocolAbout
from intervox.evaluation.results import (
    Difference,
    Ingredient,
    IngredientFigure,
    Ingredients,
    Selected,
    Sweep,
    SweepBaseline,
    SweepFigure,
    SweepVariant,
)
from intervox.reporting.study_figures import difference_plot
from intervox.reporting.study_tables import ingredient_tables, selection_sentence, sweep_tables
from intervox.tables import csv, markdown

Bounds = tuple[float, float]

ABOUT = ProtocolAbout(clips=9, failed=0, speakers=3, contents=3, hours=0.1, languages=[], licence="")
COLUMNS = ("held-out clean different_text", "fsdd clean one_shot")


def sweep_figure(value: float, difference: float, bounds: Bounds | None) -> SweepFigure:
    return SweepFigure(
        value=value,
        interval=(value - 0.01, value + 0.01) if bounds else None,
        by_seed=[value],
        difference=Difference(value=difference, interval=bounds),
    )


def variant(name: str, figure: SweepFigure) -> SweepVariant:
    return SweepVariant(
        name=name, overrides={"loss.within": None} if name != "recipe" else {}, cells=1200, blocks_per_step=4,
        seeds=[0, 1], steps=[40, 30], seconds=[10.0, 20.0], figures=dict.fromkeys(COLUMNS, figure),
    )  # fmt: skip


def small_sweep(same: Bounds | None = (0.0, 0.0), better: Bounds | None = (-0.2, -0.05)) -> Sweep:
    raw = sweep_figure(0.4, 0.2, (-0.1, 0.3))
    return Sweep(
        schema=1, recipe="r", seeds=2, protocols={"held-out": ABOUT, "fsdd": ABOUT},
        variants=[
            variant("recipe", sweep_figure(0.2, 0.0, same)),
            variant("less & more", sweep_figure(0.1, -0.1, better)),
        ],
        baselines=[SweepBaseline(name="raw, mean over layers", figures={COLUMNS[0]: raw})],
        selected=Selected(variant="less & more", score=0.1234, by=[]),
    )  # fmt: skip


def test_tables_show_differences_and_the_choice() -> None:
    trained, held, human = sweep_tables(small_sweep())
    assert trained.rows[0] == ["recipe", "–", "1,200", "0, 1", "30–40", "15"]
    assert trained.rows[1][1] == "loss.within: null"
    assert "less & more (12.3 %). The human columns took no part" in trained.note
    assert held.header == ["variant", "speaker EER, different text"]
    assert [row[1] for row in held.rows] == ["20.0 [19.0, 21.0]", "10.0* [9.0, 11.0]", "40.0 [39.0, 41.0]"]
    assert human.rows[-1] == ["raw, mean over layers", "–"]
    assert "10.0*,9.0,11.0" in csv([held])
    assert "| less & more | 10.0* [9.0, 11.0] |" in markdown([held])


def test_no_choice_is_said() -> None:
    assert "No variant is chosen" in selection_sentence(small_sweep().model_copy(update={"selected": None}))


def test_without_resamples_there_are_no_intervals() -> None:
    found = small_sweep(None, None)
    assert sweep_tables(found)[1].rows[1][1] == "10.0"
    assert "<svg" in difference_plot(found)


def test_the_plot_is_the_same_file_for_the_same_figures() -> None:
    found = small_sweep()
    plot = difference_plot(found)
    assert plot == difference_plot(small_sweep())
    assert plot.startswith("<?xml")
    assert "<svg" in difference_plot(found.model_copy(update={"variants": found.variants[:1]}))


def test_ingredients_mark_differences_that_exclude_zero() -> None:
    differences: dict[str, Bounds | None] = {"a": None, "b": (-0.02, -0.01), "c": (-0.01, 0.01)}
    found = Ingredients(
        recipe="r",
        seed=0,
        variants=[
            Ingredient(
                group="g", name=name, cells=1000, voices=3, texts=2,
                figures={
                    "fsdd clean different_text": IngredientFigure(
                        value=0.2, interval=(0.19, 0.21), difference=difference
                    )
                },
            )
            for name, difference in differences.items()
        ],
    )  # fmt: skip
    (table,) = ingredient_tables(found)
    assert table.header[-1] == "fsdd, different text"
    assert [row[-1] for row in table.rows] == ["20.0 [19.0, 21.0]", "20.0* [19.0, 21.0]", "20.0 [19.0, 21.0]"]
