"""A lending library that uses the engine: docs/engine.md tells how to run it.

It finds `notifications` two folders up. A project of your own has a copy of that folder beside its apps.
"""

import sys
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[3]
sys.path.append(str(ENGINE))
