from __future__ import annotations

import sys
from pathlib import Path

# What the tests of decisions share.
sys.path.insert(0, str(Path(__file__).parent))
