"""Commands of several sections, of which some or all are run."""

import argparse
from collections.abc import Callable, Mapping

Section = Callable[[argparse.Namespace], None]


def run_sections(parser: argparse.ArgumentParser, sections: Mapping[str, Section]) -> None:
    """Reads the command line and runs the named sections, all of them where none is named."""
    names = ", ".join(sections)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {names}; default all")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(sections)
    if unknown:
        parser.error(f"section {', '.join(sorted(unknown))} is not one of {names}")
    for name in arguments.sections or sections:
        sections[name](arguments)
