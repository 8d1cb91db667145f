"""What is installed from a wheel, as a user has it. The wheels, with those that it needs:

pip --python /usr/bin/python3 wheel --wheel-dir build/wheelhouse '.[sender,metrics,plot]'
pytest tests/installed
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "py"))
