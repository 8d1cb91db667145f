"""LumiBot's own Schwab broker, fed by a mirrored file. Its packages are many, so it is apart:

pip install -r tests/lumibot/requirements.txt && pip install --no-deps 'lumibot>=4.6.30'
pytest tests/lumibot
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
sys.path.insert(0, str(Path(__file__).parents[1] / "py" / "interop"))

from interop_fixtures import configured, run, schwab_api

from support.fixtures import host, short_path, start

__all__ = ["configured", "host", "run", "schwab_api", "short_path", "start"]
