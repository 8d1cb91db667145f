"""``tokenrelay`` whose look at the clocks comes a day late, so that only a wake-up is in time."""

from __future__ import annotations

import sys

from tokenrelay.__main__ import main
from tokenrelay.sender import schedule

if __name__ == "__main__":
    schedule.LONGEST_SLEEP = 86400.0
    sys.exit(main())
