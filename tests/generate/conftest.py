"""The machines are tried on the toy of the simulated world's tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "worlds"))
