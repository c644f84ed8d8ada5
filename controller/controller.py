"""The command: ``python controller/controller.py --batch --dataset ROOT --output OUT``. No logic here."""

import sys
from pathlib import Path

# A script's own folder comes first on sys.path and would hide the package that has the same name.
_ROOT = str(Path(__file__).resolve().parents[1])
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = _ROOT
elif _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from controller.__main__ import main  # noqa: E402  (only now is its folder found)

if __name__ == "__main__":
    sys.exit(main())
