"""Lets the tests of this folder share `report_folders.py` and `report_browser.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
