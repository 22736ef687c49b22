"""Rows from functions of the user's own."""

import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klsearch.vae.data.datasets import DataProblem, load_dataset
from klsearch.vae.data.readers.raw import RawData, Request
from klsearch.vae.data.sources import read_source

_numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("own_search_path")


def read(folder: Path, body: str, **options: Any) -> RawData:
    """What `rows()` with that body gives, written into a module of its own."""
    module = f"loader{next(_numbers)}"
    (folder / f"{module}.py").write_text(f"import numpy as np\n\ndef rows():\n    {body}\n")
    return read_source(Request(source=f"{module}:rows", folder=folder, **options))


def refusal_of_function(folder: Path, body: str, **options: Any) -> str:
    with pytest.raises(DataProblem) as caught:
        read(folder, body, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_array_is_taken_as_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "return np.arange(12.0).reshape(6, 2)", rows=4).rows.tolist() == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]


def test_paths_in_the_function_are_relative_to_the_definition_s_folder_and_the_working_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "definitions").mkdir()
    np.save(tmp_path / "definitions" / "kept.npy", np.ones((6, 2)))
    monkeypatch.chdir(tmp_path)
    assert read(tmp_path / "definitions", 'return np.load("kept.npy")').rows.shape == (6, 2)
    refusal_of_function(tmp_path / "definitions", 'return np.load("lost.npy")')
    assert Path.cwd() == tmp_path


def test_what_the_function_prints_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, "print('loading'); return [[1, 2], [3, 4]]")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "loading\n")


def test_nested_lists_are_taken_as_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "return [[1, 2], [3, 4]]").rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (
            "sparse.csr_matrix(np.eye(3))",
            "returned a sparse matrix (csr_matrix), which is not trained on; return its .to",
        ),
        ("(sparse.coo_matrix(np.eye(3)), [1, 2, 3])", "returned a sparse matrix (coo_matrix)"),
        ("sparse.csr_array(np.eye(3))", "returned a sparse matrix (csr_array)"),
        ("{'x': np.eye(3), 'y': 1}", "of type dict with 'x', 'y'; return an array [rows, …], a pair (rows, labels)"),
        ("(row for row in np.eye(3))", "returned an object of type generator; return an array [rows, …]"),
        ("object()", "of type object; return"),
    ],
)
def test_what_is_no_array_is_told_with_what_to_return(tmp_path: Path, returned: str, told: str) -> None:
    assert told in refusal_of_function(tmp_path, f"from scipy import sparse; return {returned}")


def test_a_pair_is_taken_as_rows_and_labels(tmp_path: Path) -> None:
    raw = read(tmp_path, "return np.eye(3), ['a', 'b', 'c']", rows=2)
    assert raw.rows.shape == (2, 3)
    assert raw.labels is not None and raw.labels.tolist() == ["a", "b"]


def test_labels_of_another_number_than_the_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loader_few.py").write_text("import numpy as np\ndef rows(): return np.eye(9), [1, 2]\n")
    with pytest.raises(DataProblem, match="9 rows have 2 labels"):
        load_dataset(Request(source="loader_few:rows", folder=tmp_path))


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("np.eye(40)", "the labels have shape [40, 40]; give one value for each row"),
        ("[0.0] * 30 + [np.nan] * 10", "10 rows have no label, the first at row 30"),
        ("np.array(['a'] * 39 + [None], object)", "1 row has no label, the first at row 39"),
        ("np.array(['a'] * 39 + [7], object)", "the labels mix numbers and text"),
        ("pd.array(['u', None] * 20, dtype='string')", "20 rows have no label, the first at row 1"),
        ("pd.array([1, 2, None, 3] * 10, dtype='Int64')", "10 rows have no label, the first at row 2"),
        ("pd.array([1.5, 2, None, 3] * 10, dtype='Float64')", "10 rows have no label, the first at row 2"),
        ("pd.array([True, None] * 20, dtype='boolean')", "20 rows have no label, the first at row 1"),
        ("np.ma.array([1, 2] * 20, mask=[0, 0, 1, 0] * 10)", "10 rows have no label, the first at row 2"),
        ("np.ma.array(['a', 'b'] * 20, mask=[0, 0, 1, 0] * 10)", "10 rows have no label, the first at row 2"),
    ],
)
def test_labels_that_say_no_one_thing_of_each_row_are_refused_before_anything_is_trained(
    tmp_path: Path, labels: str, reason: str
) -> None:
    (tmp_path / "loader_labels.py").write_text(
        f"import numpy as np\nimport pandas as pd\ndef rows(): return np.eye(40), {labels}\n"
    )
    for name in [name for name in sys.modules if name == "loader_labels"]:
        del sys.modules[name]
    with pytest.raises(DataProblem) as caught:
        load_dataset(Request(source="loader_labels:rows", folder=tmp_path))
    assert reason in str(caught.value)


def test_a_column_of_labels_is_taken_as_labels(tmp_path: Path) -> None:
    raw = read(tmp_path, "return np.eye(5), np.arange(5)[:, None]")
    assert raw.labels is not None and raw.labels.tolist() == list(range(5))


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    body = "import pandas as pd; return pd.concat([pd.DataFrame(np.eye(3)), pd.DataFrame(np.eye(3))], axis=1)"
    assert "has several columns '0'; give each a name of its own" in refusal_of_function(tmp_path, body)


def test_a_data_frame_keeps_its_columns_and_gives_its_labels(tmp_path: Path) -> None:
    body = "import pandas as pd; return pd.DataFrame({'a': [1, 2], 'who': ['x', 'y'], 'b': [3.5, 4]})"
    raw = read(tmp_path, body, labels="who")
    assert (raw.columns, raw.rows.tolist()) == (("a", "b"), [[1, 3.5], [2, 4]])


def test_a_series_is_a_frame_of_one_column(tmp_path: Path) -> None:
    raw = read(tmp_path, "import pandas as pd; return pd.Series([1.5, 2, 3], name='age')", rows=2)
    assert (raw.columns, raw.rows.tolist()) == (("age",), [[1.5], [2]])


FRAME = "import pandas as pd; frame = pd.DataFrame({'a': [1, 2, 4], 'w': ['x', 'y', 'x']})"


def test_a_frame_beside_labels_is_read_as_one_alone(tmp_path: Path) -> None:
    raw = read(tmp_path, f"{FRAME}; return frame, pd.Series(['p', 'q', 'q'])")
    assert (raw.columns, raw.rows.tolist()) == (("a", "w=x", "w=y"), [[1, 1, 0], [2, 0, 1], [4, 1, 0]])
    assert raw.labels is not None and raw.labels.tolist() == ["p", "q", "q"]
    ignored = read(tmp_path, f"{FRAME}; return frame, [1, 2, 3]", columns={"w": "ignore"}, rows=2)
    assert (ignored.columns, ignored.rows.tolist()) == (("a",), [[1], [2]])
    assert ignored.labels is not None and ignored.labels.tolist() == [1, 2]
    assert "has no data column 'b'" in refusal_of_function(
        tmp_path, f"{FRAME}; return frame, None", columns={"b": "count"}
    )


def test_a_frame_beside_a_condition_is_read_as_one_alone_and_the_condition_is_the_third_value(tmp_path: Path) -> None:
    body = f"{FRAME}; return frame, None, frame[['a']].to_numpy()"
    raw = read(tmp_path, body, condition=("c",), columns={"c[0]": "number", "a": "category"})
    assert raw.columns == ("a=1", "a=2", "a=4", "w=x", "w=y")
    assert raw.labels is None and raw.conditions["c"].tolist() == [[1], [2], [4]]


def test_the_user_s_folder_is_searched_last(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('hides a package')\n")
    read(tmp_path, "import json; return [[json.loads('1'), 2], [3, 4]]")
    assert sys.path[-1] == str(tmp_path.resolve())


def test_the_function_s_own_error_is_shown_with_its_file_and_line(tmp_path: Path) -> None:
    text = refusal_of_function(tmp_path, "return np.zeros((2, 3)) @ np.zeros(2)")
    assert "ValueError: matmul" in text
    assert text.endswith(".py:4)")
    assert str(tmp_path) in text


def test_an_error_deep_in_a_library_names_the_user_s_line(tmp_path: Path) -> None:
    text = refusal_of_function(tmp_path, "import json; return json.loads('{')")
    assert "JSONDecodeError" in text
    assert f"({tmp_path.resolve()}" in text
    assert text.endswith(":4)")


def test_an_environment_in_the_user_s_folder_is_not_the_user_s_own(tmp_path: Path) -> None:
    library = tmp_path / ".venv" / "site-packages"
    library.mkdir(parents=True)
    (library / "loader_library.py").write_text("def fail():\n    raise OSError('gone')\n")
    body = f"import sys; sys.path.append({str(library)!r}); import loader_library; loader_library.fail()"
    assert re.search(r"OSError: gone \(.*/loader\d+\.py:4\)", refusal_of_function(tmp_path, body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return [[1, 2], [3]]", "rows that do not form one array"),
        ("return None", "returned nothing; return an array"),
    ],
)
def test_what_is_no_array_is_refused(tmp_path: Path, body: str, reason: str) -> None:
    assert reason in refusal_of_function(tmp_path, body)


def test_columns_by_name_are_refused_where_there_are_none(tmp_path: Path) -> None:
    assert "data.labels = 'who' cannot be used" in refusal_of_function(tmp_path, "return np.eye(3)", labels="who")


TF = "import tensorflow as tf; data = tf.data.Dataset.from_tensor_slices((np.eye(5), np.arange(5)))"


@pytest.mark.parametrize(
    "tail", ["data", "data.batch(2)", "data.batch(2).prefetch(1)", "data.batch(5, drop_remainder=True)"]
)
def test_a_tensorflow_data_set_gives_its_rows_and_labels_batched_or_not(tmp_path: Path, tail: str) -> None:
    raw = read(tmp_path, f"{TF}; return {tail}")
    assert np.array_equal(raw.rows, np.eye(5))
    assert raw.labels is not None and raw.labels.tolist() == list(range(5))


def test_a_tensorflow_data_set_without_labels_gives_rows(tmp_path: Path) -> None:
    body = "import tensorflow as tf; return tf.data.Dataset.from_tensor_slices(np.eye(5)).batch(3)"
    raw = read(tmp_path, body, rows=4)
    assert np.array_equal(raw.rows, np.eye(5)[:4])
    assert raw.labels is None


def test_one_hot_labels_of_a_tensorflow_data_set_are_no_batch(tmp_path: Path) -> None:
    raw = read(tmp_path, f"{TF}; return data.map(lambda row, label: (row, tf.one_hot(label, 7)))")
    assert raw.rows.shape == (5, 5)
    assert raw.labels is not None and raw.labels.shape == (5, 7)


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (
            "data.map(lambda row, label: {'image': row, 'label': label})",
            "must be rows, (row, label) or (row, label, cond",
        ),
        (
            "data.map(lambda row, label: (row, label, label, 1))",
            "must be rows, (row, label) or (row, label, condition)",
        ),
        ("data.map(lambda row, label: (row, label, label))", "returned three values, of which the third is taken for"),
        ("data.map(lambda row, label: (row[:label], label))", "rows differ in shape; make them alike"),
    ],
)
def test_a_tensorflow_data_set_of_other_elements_is_refused(tmp_path: Path, tail: str, reason: str) -> None:
    assert reason in refusal_of_function(tmp_path, f"{TF}; return {tail}")


@pytest.mark.parametrize("tail", ["", ".batch(2)", ".batch(5, drop_remainder=True)"])
def test_a_tensorflow_data_set_whose_rows_are_their_own_targets_is_refused_with_the_way_out(
    tmp_path: Path, tail: str
) -> None:
    doubled = f"{TF}; return data.map(lambda row, label: (row, row)){tail}"
    told = "5], as where it repeats it for Keras; map to the row alone: .map(lambda row, _: row)"
    assert told in refusal_of_function(tmp_path, doubled)
    assert np.array_equal(read(tmp_path, f"{doubled}.map(lambda row, _: row)").rows.reshape(5, 5), np.eye(5))


def test_the_start_up_lines_of_tensorflow_are_hidden_where_the_function_is_the_first_to_load_it(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "def rows():\n"
        "    print('own words')\n"
        "    import tensorflow as tf\n"
        "    return tf.data.Dataset.from_tensor_slices([[1.0, 2.0], [3.0, 4.0]])\n"
    )
    program = (
        "from pathlib import Path\n"
        "from klsearch.vae.data.readers.raw import Request\n"
        "from klsearch.vae.data.sources import read_source\n"
        f"assert read_source(Request(source='late:rows', folder=Path({str(tmp_path)!r}))).rows.shape == (2, 2)\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "own words\n")


def test_a_tensorflow_data_set_without_end_is_refused_unless_rows_are_counted(tmp_path: Path) -> None:
    assert "repeats without end" in refusal_of_function(tmp_path, f"{TF}; return data.repeat()")
    assert len(read(tmp_path, f"{TF}; return data.repeat()", rows=7).rows) == 7


def test_a_tensorflow_data_set_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    body = f"{TF}; return data.map(lambda row, label: (tf.debugging.check_numerics(row / 0.0, 'bad row'), label))"
    assert "bad row" in refusal_of_function(tmp_path, body)


@pytest.mark.parametrize("code", ["0", "1", "'no data today'", ""])
def test_a_function_that_ends_the_process_is_refused_with_its_line(tmp_path: Path, code: str) -> None:
    assert re.search(r"SystemExit: .*\.py:4\)", refusal_of_function(tmp_path, f"raise SystemExit({code})"))


def test_what_the_function_writes_past_python_stays_off_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    read(tmp_path, "import os; os.write(1, b'from C'); return [[1, 2], [3, 4]]")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "from C")


def test_a_frame_that_fails_when_it_is_read_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refusal_of_function(tmp_path, "return type('Odd', (), {'iloc': 1})()")


def test_a_third_value_is_the_condition_that_the_definition_names(tmp_path: Path) -> None:
    body = "return np.eye(6), None, ['a', 'b'] * 3"
    raw = read(tmp_path, body, condition=("batch",), rows=4)
    assert raw.labels is None
    assert raw.conditions["batch"].tolist() == ["a", "b", "a", "b"]
    by_name = read(tmp_path, "return np.eye(6), None, {'a': range(6), 'b': range(6)}", condition=("b",))
    assert list(by_name.conditions) == ["b"]


def test_three_rows_are_no_condition(tmp_path: Path) -> None:
    assert read(tmp_path, "return ([1, 2], [3, 4], [5, 6])").rows.shape == (3, 2)


@pytest.mark.parametrize(
    ("body", "condition", "reason"),
    [
        ("return np.eye(3), None, [1, 2, 3]", (), 'a condition; say so with data.condition = ["name"], or return two'),
        ("return np.eye(3), None, [1, 2, 3]", ("a", "b"), "names 2 conditions, but the third value is one"),
        ("return np.eye(3), None, {'a': [1, 2, 3]}", ("b",), "has no condition 'b' (data.condition); it has a"),
        ("return np.eye(3), [1, 2, 3]", ("a",), "data.condition = ['a'] cannot be used: return three values"),
    ],
)
def test_a_second_input_is_called_a_condition_wherever_it_does_not_fit(
    tmp_path: Path, body: str, condition: tuple[str, ...], reason: str
) -> None:
    assert reason in refusal_of_function(tmp_path, body, condition=condition)


@pytest.mark.parametrize(
    "condition",
    [
        "pd.array([1, None, 2] * 20, dtype='Int64')",
        "pd.array([1.5, None, 2] * 20, dtype='Float64')",
        "pd.array(['u', None, 'v'] * 20, dtype='string')",
        "{'c': pd.Series([True, None, False] * 20, dtype='boolean')}",
        "pd.DataFrame({'c': ['u', '', 'v'] * 20})",
        "np.ma.array(['u', '?', 'v'] * 20, mask=[0, 1, 0] * 20)",
        "['u', float('nan'), 'v'] * 20",
    ],
)
def test_a_condition_with_gaps_of_any_library_is_refused_by_its_first_row(tmp_path: Path, condition: str) -> None:
    (tmp_path / "loader_gaps.py").write_text(
        f"import numpy as np\nimport pandas as pd\ndef rows(): return np.eye(60), None, {condition}\n"
    )
    with pytest.raises(DataProblem, match=r"the condition 'c' has no value in 20 rows, the first is row 1 \(counted"):
        load_dataset(Request(source="loader_gaps:rows", folder=tmp_path, condition=("c",)))


@pytest.mark.parametrize(("kind", "values"), [("Int64", "[1, 2]"), ("Float64", "[1.5, 2]"), ("string", "['u', 'v']")])
def test_whole_columns_of_pandas_types_of_its_own_are_labels_and_conditions(
    tmp_path: Path, kind: str, values: str
) -> None:
    told = f"pd.array({values} * 3, dtype='{kind}')"
    raw = read(tmp_path, f"import pandas as pd; return np.eye(6), {told}, {told}", condition=("c",))
    assert raw.labels is not None
    assert raw.labels.tolist() == raw.conditions["c"].tolist() == eval(values) * 3


BLANKS = "import pandas as pd; return pd.DataFrame({'x': range(6), 'who': ['a', '', 'b', 'a', '  ', 'b']})"


@pytest.mark.parametrize("beside", [{"labels": "who"}, {"group": "who"}])
def test_blank_text_of_a_frame_is_no_label_and_no_group(tmp_path: Path, beside: dict[str, str]) -> None:
    assert "column 'who' has no value in 2 rows, the first at row 1" in refusal_of_function(tmp_path, BLANKS, **beside)


def test_blank_text_of_a_frame_is_missing_in_its_data_and_conditions(tmp_path: Path) -> None:
    raw = read(tmp_path, BLANKS)
    assert raw.columns == ("x", "who=a", "who=b")
    assert np.isnan(raw.rows[:, 1]).tolist() == [False, True, False, False, True, False]
    assert read(tmp_path, BLANKS, condition=("who",)).conditions["who"].tolist() == ["a", None, "b", "a", None, "b"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return type('Lazy', (), {'__array__': lambda *_: sys.exit(0)})()", "SystemExit: 0"),
        ("return type('Frame', (), {'iloc': property(lambda _: sys.exit(0))})()", "SystemExit: 0"),
        ("return np.eye(3), type('Lazy', (), {'__array__': lambda *_: sys.exit(0)})()", "SystemExit: 0"),
        ("raise type('Silent', (Exception,), {'__str__': lambda _: sys.exit(0)})", "Silent: its text raises Sys"),
        ("raise type('Rare', (BaseException,), {})('why')", "Rare: why"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
    ids=["array", "frame", "labels", "text", "kind", "generator"],
)
def test_whatever_ends_the_process_from_code_of_the_user_s_own_is_refused_with_its_line(
    tmp_path: Path, body: str, told: str
) -> None:
    refusal = refusal_of_function(tmp_path, f"import sys; {body}")
    assert told in refusal
    assert re.search(r"loader\d+\.py:4\)$", refusal)


def test_a_module_that_ends_the_process_when_it_is_asked_for_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loader_asked.py").write_text("def __getattr__(name):\n    raise SystemExit(0)\n")
    with pytest.raises(DataProblem, match=r"SystemExit: 0 \(.*loader_asked\.py:2\)"):
        read_source(Request(source="loader_asked:rows", folder=tmp_path))


def test_ctrl_c_is_no_error_of_the_function_s(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, "raise KeyboardInterrupt")


def test_a_long_error_keeps_its_two_ends(tmp_path: Path) -> None:
    refusal = refusal_of_function(tmp_path, "raise ValueError('first ' + 'x' * 2_000_000 + ' last')")
    assert re.search(r"ValueError: first x+ … x+ last \(.*\.py:4\)$", refusal)
    assert len(refusal) < 1000
