"""What every test of the harness shares."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make qualify` runs every testcase for each weakness; `make test` the declared and the quick ones."""
    parser.addoption(
        "--every-testcase", action="store_true", help="qualification with every testcase, not only quick ones"
    )
    parser.addoption(
        "--together", action="store_true", help="qualification: weaknesses whose testcases are apart share a trial"
    )
