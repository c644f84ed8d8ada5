"""What the commands have in common."""

import argparse
import sys
from typing import NoReturn

USAGE = 1
"""Exit code of wrong usage. argparse's own, 2, means here that some items could not be worked on."""


class Parser(argparse.ArgumentParser):
    """Ends with USAGE where the arguments are wrong."""

    def error(self, message: str) -> NoReturn:
        """Tells how it is used and what is wrong."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")
