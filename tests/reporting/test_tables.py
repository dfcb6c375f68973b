import pytest

from intervox.evaluation.results import Metrics
from intervox.reporting.maps import separation_matrix
from intervox.reporting.tables import headline_tables, metric_tables, table_sections
from intervox.tables import FORMATS
from tests.support.metrics import sample_metrics


def full_metrics() -> Metrics:
    return Metrics.model_validate(sample_metrics())


def bare_metrics() -> Metrics:
    """What an evaluation of somebody's vectors has: one space, one protocol, no texts, nothing raw."""
    result = sample_metrics()["verification"]["fsdd"]["speaker"]["clean"]["all"]
    about = {"clips": 40, "failed": 0, "speakers": 4, "contents": 40, "hours": 0.1, "languages": []}
    return Metrics.model_validate(
        {
            "schema": 3,
            "recipe": "mine",
            "seed": 0,
            "spaces": {"embedding": ""},
            "protocols": {"calls": about | {"licence": ""}},
            "verification": {"calls": {"embedding": {"clean": {"all": result, "list:official": result}}}},
            "baselines": {},
        }
    )


@pytest.mark.parametrize("metrics", [full_metrics(), bare_metrics()], ids=["full", "bare"])
def test_every_row_fits_its_header(metrics: Metrics) -> None:
    for table in metric_tables(metrics):
        assert table.rows
        assert all(len(row) == len(table.header) for row in table.rows), table.title
        assert all(isinstance(cell, str) and cell for row in table.rows for cell in row), table.title


def test_a_full_run_has_every_table() -> None:
    sections = table_sections(full_metrics())
    assert {section: len(tables) for section, tables in sections.items()} == {
        "tested": 1,
        "verification": 6,
        "keywords": 3,
        "separation": 6,
        "baselines": 1,
        "severity": 1,
        "calibration": 1,
    }
    keys = [table.key for tables in sections.values() for table in tables]
    assert len(set(keys)) == len(keys)


def test_what_was_not_measured_has_no_table() -> None:
    metrics = bare_metrics()
    assert [table.key for table in metric_tables(metrics)] == [
        "evaluation-sets",
        "speaker-verification",
        "every-stratum",
    ]
    (headline,) = headline_tables(metrics)
    assert headline.header[2:] == ["clean, official list official", "clean, all pairs"]
    assert headline.rows == [["calls", "embedding subspace", *["20.5 [17.4, 23.0]"] * 2]]


def test_the_headline_tables_are_few_and_hold_the_measured_figures() -> None:
    verification, decision, keywords, separation = headline_tables(full_metrics())
    assert ["fsdd", "speaker", "clean, different text", "20.5 [17.4, 23.0]", "1.3", "20.4"] in decision.rows
    assert len(verification.rows) == 16
    rows = {(row[0], row[1]): row[2:] for row in verification.rows}
    assert rows["librispeech", "raw, layer 1"][0] == "10.7 [9.1, 12.0]"
    assert rows["fsdd", "raw, layer 0 / layer 1"][0].startswith("23.9")
    assert rows["librispeech", "LDA"][1] == "–"
    assert rows["speech_commands", "speaker subspace"] == [
        "10.9 [9.3, 12.2]",
        "16.9 [14.4, 18.9]",
        "23.4 [19.9, 26.2]",
    ]
    assert ["fsdd", "speaker subspace", "0.838 [0.818, 0.858]"] in [row[:3] for row in keywords.rows]
    assert "ten-shot" not in keywords.header
    assert ["fsdd", "48.2", "1.57 ×", "0.838 (chance 0.100)"] in separation.rows


@pytest.mark.parametrize("name", FORMATS)
def test_every_table_can_be_written(name: str) -> None:
    tables = metric_tables(full_metrics())
    text = FORMATS[name](tables)
    assert all(table.title.split(":")[0] in text for table in tables)


def test_the_matrix_has_our_spaces_first_and_shades_by_what_is_read() -> None:
    matrix = separation_matrix(full_metrics())
    assert matrix.spaces == ["speaker", "content", "raw.1"]
    assert "librispeech" not in matrix.rows
    factor, chance, cells = matrix.rows["speech_commands"][1]
    assert (factor, chance) == ("content", 0.118)
    assert [cell.role for cell in cells if cell] == ["leak", "own", "plain"]
    # The MLP reads 0.925 where chance is 0.118: 91 % of the way, 18 of 20 shades.
    assert cells[0]
    assert (cells[0].best, cells[0].shade) == (0.925, 18)


def test_running_speech_names_its_raw_layer() -> None:
    table = next(table for table in metric_tables(full_metrics()) if table.key == "running-speech")
    assert [row[1] for row in table.rows] == ["content subspace", "speaker subspace", "raw, layer 4"]
    assert all("[" in cell for row in table.rows for cell in row[2:5])


def test_geometry_and_projection_have_a_row_a_pair_of_spaces() -> None:
    tables = {table.key: table for table in metric_tables(full_metrics())}
    geometry, projection = tables["geometry"], tables["projection"]
    assert geometry.rows[0][1:] == [
        *("content and speaker", "0.040", "0.010", "0.20"),
        *("84.2", "61.0", "73.4", "65.1"),
    ]
    assert projection.rows[0][1:] == [
        *("content", "content", "0.400 [0.390, 0.410]", "0.960 [0.950, 0.970]", "0.100")
    ]
