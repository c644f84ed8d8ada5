"""Entry point of ``python -m training`` and of the console script."""

import sys

from acusim.command_line import missing_packages_explained


def main() -> int:
    """Runs the command; returns its exit code."""
    with missing_packages_explained():
        from training.cli.main import main as command

        return command()


if __name__ == "__main__":
    sys.exit(main())
