"""Numbers as tables spell them."""

from typing import TYPE_CHECKING

import numpy as np
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


@pytest.mark.parametrize("separator", [",", "\t", "|"])
def test_three_decimals_after_a_dot_stay_decimals_where_nothing_speaks_of_decimal_commas(
    folder: "DataFolder", separator: str
) -> None:
    (folder.path / "rows.csv").write_text("a,price\n1,4.321\n2,321\n".replace(",", separator))
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


def test_labels_in_doubt_have_a_way_out_that_needs_no_key_which_they_cannot_have(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text(column("5", "4,321", "20"))
    told = "; write thousands without separators, or decimals in every row, such as 5,0 for 5"
    assert folder.refusal("rows.csv", labels="price").endswith(told)
    (folder.path / "rows.csv").write_text(column("5,0", "4,321", "20"))
    labels = folder.read("rows.csv", labels="price").labels
    assert labels is not None and labels.tolist() == [5, 4.321, 20]


def test_all_doubtful_columns_are_told_and_read_in_their_place(folder: "DataFolder") -> None:
    lines = ["id;x;y;z;", "0;1,5;1.250;1,250;", "1;2,5;2.500;7;"]
    (folder.path / "rows.csv").write_text("\n".join(lines) + "\n")
    refusal = folder.refusal("rows.csv")
    assert "column 'z' holds '1,250' at row 0" in refusal
    assert refusal.endswith("; nor can 'y' (marks before decimals or between thousands) be data")


def test_the_errors_of_a_spreadsheet_are_missing_among_numbers_and_named(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b\n1,2\n#DIV/0!,3\n4,#N/A\n5,#VALUE!\n")
    raw = folder.read("rows.csv")
    assert np.array_equal(raw.rows, np.array([[1, 2], [np.nan, 3], [4, np.nan], [5, np.nan]]), equal_nan=True)
    assert raw.notes == ("rows.csv: '#DIV/0!' and '#VALUE!' are taken for missing in columns 'a', 'b'",)


@pytest.mark.parametrize("error", ["#WERT!", "#ZAHL!", "#BEZUG!", "#NV", "#VALEUR!", "#N/D", "#NOMBRE?", "#¡VALOR!"])
def test_a_spreadsheet_s_errors_are_known_in_its_language(folder: "DataFolder", error: str) -> None:
    (folder.path / "rows.csv").write_text(f"a;b\n1;2\n{error};3\n4;5\n", encoding="utf-8")
    assert np.array_equal(folder.read("rows.csv").rows[:, 0], [1, np.nan, 4], equal_nan=True)


def test_only_the_marks_that_a_table_holds_are_named(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b\n1,2\n?,3\n")
    assert folder.read("rows.csv").notes == ("rows.csv: '?' is taken for missing in column 'a'",)


def test_a_minus_of_print_is_a_minus_and_said_to_be(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a;b\n1;−2,5\n2;3\n", encoding="utf-8")
    raw = folder.read("rows.csv")
    assert raw.rows.tolist() == [[1, -2.5], [2, 3]]
    assert raw.notes[-1] == "rows.csv: '−' is taken for a minus in column 'b'"


def test_a_word_for_missing_with_a_blank_behind_it_makes_no_column_of_numbers_text(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b\n1,2\nNA ,3\n 4 ,5\n")
    assert np.array_equal(folder.read("rows.csv").rows[:, 0], [1, np.nan, 4], equal_nan=True)


@pytest.mark.parametrize("values", [("5%", "10%", "5%"), ("$5", "$6", "$5"), ("2024-01-02", "2.2.2024", "2024-01-02")])
def test_percentages_money_and_dates_of_several_forms_become_no_categories(
    folder: "DataFolder", values: tuple[str, ...]
) -> None:
    (folder.path / "rows.csv").write_text(column(*values))
    assert f"column 'price' holds '{values[0]}' at row 0" in folder.refusal("rows.csv")
    asked = folder.read("rows.csv", columns={"price": "category"})
    assert asked.rows[:, 1:].tolist() == [[float(value == kind) for kind in sorted(set(values))] for value in values]
