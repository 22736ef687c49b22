"""Data frames that the user's own function gives."""

import sys
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder


def test_decimals_of_a_frame_that_a_function_gives_are_numbers_and_its_own_frame_stays(folder: "DataFolder") -> None:
    (folder.path / "rows_exact.py").write_text(
        "from decimal import Decimal\nimport pandas as pd\n\n"
        "FRAME = pd.DataFrame({'a': [Decimal('0.5'), Decimal(2)]})\n"
        "\n\ndef load():\n    return FRAME\n"
    )
    for _ in range(2):
        assert folder.read("rows_exact:load").rows.tolist() == [[0.5], [2]]
    assert sys.modules["rows_exact"].FRAME["a"].tolist() == [Decimal("0.5"), Decimal(2)]
