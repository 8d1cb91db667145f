"""The notebook's test needs Jupyter, so it is no part of the ordinary suite:

pip install -r tests/notebook/requirements.txt && pytest tests/notebook
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
