"""The page of formats says what the models of the results say."""

from tests.support.schema import PAGE, insert


def test_the_page_describes_the_results_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == insert(page), "run python -m tests.support.schema"


def test_every_field_is_described() -> None:
    rows = [line for line in insert(PAGE.read_text(encoding="utf-8")).splitlines() if line.startswith("| `")]
    assert len(rows) > 100
    assert not [row for row in rows if row.endswith("|  |")]
