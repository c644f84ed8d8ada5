"""Entry point of ``python -m synthetic``."""

from synthetic.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
