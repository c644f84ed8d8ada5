"""The controller, for model files as small as those of the fixture small_models: ``python -m``, then its options."""

import sys

from controller.cli import main
from engines.embedded import module_specs
from tests.engines.embedded.model_files import SIZES_FOR_TEXTS, small_sizes

if __name__ == "__main__":
    vars(module_specs).update(small_sizes(SIZES_FOR_TEXTS))
    sys.exit(main())
