"""Numbers as tables spell them."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder


def column(*values: str) -> str:
    """A table of two columns apart by semicolons, `a` of whole numbers and `price` as given."""
    return "a;price\n" + "".join(f"{at};{value}\n" for at, value in enumerate(values))


@pytest.mark.parametrize("first", ["4,321", "-4,321"])
def test_a_comma_that_only_numbers_from_a_thousand_on_have_is_refused_and_not_read_as_a_decimal_comma(
    folder: "DataFolder", first: str
) -> None:
    (folder.path / "rows.csv").write_text(column("321", first, "0", "2,945"))
    sign = first.removesuffix("4,321")
    assert folder.refusal("rows.csv") == (
        f"rows.csv: column 'price' holds '{sign}4,321' at row 1 (counted from 0, line 3), which may be {sign}4321 as "
        f"well as {sign}4.321; write thousands without separators, or, if decimals follow that mark, say so by "
        '[data.columns] price = "number"'
    )


@pytest.mark.parametrize("number", ["321", "4.500", "1.000"])
def test_a_dot_before_three_digits_beside_decimal_commas_is_refused(folder: "DataFolder", number: str) -> None:
    (folder.path / "rows.csv").write_text(f"a;price\n1,5;4.035\n2,5;{number}\n")
    assert "column 'price' holds '4.035' at row 0 (counted from 0, line 2), which may be 4035 as well as 4.035" in (
        folder.refusal("rows.csv")
    )


def test_dots_that_hide_in_whole_numbers_of_thousands_are_refused_too(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a;price\n1,5;1.000\n2,5;2.000\n")
    assert "'1.000' at row 0 (counted from 0, line 2), which may be 1000 as well as 1.000" in folder.refusal("rows.csv")


def test_a_dot_that_only_numbers_from_a_thousand_on_have_is_refused_where_semicolons_separate(
    folder: "DataFolder",
) -> None:
    (folder.path / "rows.csv").write_text(column("321", "4.321", "", "20"))
    assert "column 'price' holds '4.321' at row 1" in folder.refusal("rows.csv")


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["0,125", "1,250", "3,000"], [0.125, 1.25, 3.0]),
        (["0,125", "1,250", "3"], [0.125, 1.25, 3.0]),
        (["1,250", "2,375", "3,000"], [1.25, 2.375, 3.0]),
        (["1,250", "2,5", "3"], [1.25, 2.5, 3.0]),
        (["1,250", "4321", "3"], [1.25, 4321.0, 3.0]),
        (["0.125", "1.250", "3"], [0.125, 1.25, 3.0]),
        (["1.250", "2.375", "3.125"], [1.25, 2.375, 3.125]),
        (["1.25", "2.375", "3"], [1.25, 2.375, 3.0]),
        (["1,250", "?", "3,000"], None),
    ],
)
def test_decimals_stay_decimals_where_something_tells_them_from_thousands(
    folder: "DataFolder", values: list[str], read: list[float] | None
) -> None:
    (folder.path / "rows.csv").write_text(column(*values))
    rows = folder.read("rows.csv").rows
    assert rows[0, 1] == float(values[0].replace(",", "."))
    assert read is None or rows[:, 1].tolist() == read


def test_three_decimals_after_a_dot_stay_decimals_where_commas_separate(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,price\n1,4.321\n2,321\n")
    assert folder.read("rows.csv").rows[0, 1] == 4.321


@pytest.mark.parametrize(
    "options", [{"columns": {"price": "number"}}, {"columns": {"price": "ignore"}}, {"group": "price"}]
)
def test_a_mark_is_no_matter_where_the_definition_says_what_it_is_or_it_is_no_number(
    folder: "DataFolder", options: dict[str, object]
) -> None:
    (folder.path / "rows.csv").write_text(column("321", "4,321", "20"))
    raw = folder.read("rows.csv", **options)
    assert raw.columns is not None
    assert "price" not in raw.columns or raw.rows[:, 1].tolist() == [321, 4.321, 20]


def test_all_doubtful_columns_are_told_and_read_in_their_place(folder: "DataFolder") -> None:
    lines = ["id;x;y;z;", "0;1,5;1.250;1,250;", "1;2,5;2.500;7;"]
    (folder.path / "rows.csv").write_text("\n".join(lines) + "\n")
    refusal = folder.refusal("rows.csv")
    assert "column 'z' holds '1,250' at row 0" in refusal
    assert refusal.endswith("; nor can 'y' (marks before decimals or between thousands) be data")
