from __future__ import annotations

import sys
from pathlib import Path

# The proxy that faults are made with, and the services that stand behind it.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
