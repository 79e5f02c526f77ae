from __future__ import annotations

import sys
from pathlib import Path

# The small sidecars are shared by the tests of this folder only.
sys.path.insert(0, str(Path(__file__).parent))
