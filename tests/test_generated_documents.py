from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import documents


@pytest.mark.parametrize("path", sorted(documents.DOCUMENTS), ids=lambda path: path.name)
def test_what_documents_take_from_the_code_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == documents.filled(path), "run: .venv/bin/python tools/documents.py"
