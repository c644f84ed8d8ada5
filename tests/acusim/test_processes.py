"""Memory of processes."""

import os
import platform
import subprocess
import sys

import pytest

HELD = """
import os
import sys
import numpy as np
from acusim.processes import keep_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

if "keep" in sys.argv:
    keep_memory()
array = np.ones(1 << 23)
full = resident()
del array
print((full - resident()) * os.sysconf("SC_PAGE_SIZE") >> 20)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="reads /proc, for glibc"
)
@pytest.mark.parametrize(("how", "returned"), [("return", True), ("keep", False)])
def test_a_process_keeps_what_64_mib_of_an_array_were_in(how: str, returned: bool) -> None:
    # Another allocator, or settings of glibc's, would be inherited.
    apart = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD" and "MALLOC" not in name}
    line = [sys.executable, "-c", HELD, how]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60, env=apart)
    assert (int(done.stdout) > 48) == returned
