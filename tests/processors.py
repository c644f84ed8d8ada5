"""Runs the numeric tests under several instruction sets of this processor, and prints a table.

    python -m tests.processors                    each profile
    python -m tests.processors sse3 avx2          these
    python -m tests.processors --list             what each sets, and whether this machine can imitate it

Libraries choose their code by the processor; environment variables make each believe that it is an older one. Numeric
tests are those with the mark ``numeric``. A profile that the processor cannot imitate is named in the table, and so is
one that did not come into force; the exit code is 0 only if every profile that the machine can imitate passed.

Not switched, because there is no switch: ONNX Runtime, MediaPipe, and the codecs of Pillow and OpenCV.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support import ROOT

_AVX512 = [f"AVX512{name}" for name in ("F", "CD", "_KNL", "_KNM", "_SKX", "_CLX", "_CNL", "_ICL", "_SPR")]
_AVX = ["AVX", "F16C", "FMA3", "AVX2", *_AVX512]
_SSE = ["SSSE3", "SSE41", "POPCNT", "SSE42", *_AVX]


@dataclass(frozen=True)
class Profile:
    """An instruction set that libraries are held to."""

    needs: str
    """NumPy's name of what the processor must have."""
    torch: str
    onednn: str
    openblas: str
    mkl: str
    """Conditional numerical reproducibility: the one switch of MKL that acts on every maker's processors."""
    ipp: str
    """OpenCV's copy of Intel's primitives."""
    opencv: tuple[str, ...]
    """What OpenCV must not use."""
    numpy: tuple[str, ...]
    """What NumPy must not use. Of both lists, what is not used anyway is left out: the libraries complain of it."""

    def environment(self, has: frozenset[str]) -> dict[str, str]:
        """The variables, on a processor that has these features."""
        out = {
            "ATEN_CPU_CAPABILITY": self.torch,
            "DNNL_MAX_CPU_ISA": self.onednn,
            "OPENBLAS_CORETYPE": self.openblas,
            "MKL_CBWR": self.mkl,
            "OPENCV_IPP": self.ipp,
            "OPENCV_CPU_DISABLE": ",".join(name for name in self.opencv if name in has),
            "NPY_DISABLE_CPU_FEATURES": " ".join(name for name in self.numpy if name in has),
        }
        return {name: value for name, value in out.items() if value}


PROFILES = {
    "sse3": Profile(
        needs="SSE3",
        torch="default",
        onednn="SSE41",
        openblas="Prescott",
        mkl="COMPATIBLE",
        ipp="sse42",
        opencv=("SSE4.1", "SSE4.2", "AVX", "FP16", "AVX2", "AVX512-SKX"),
        numpy=tuple(_SSE),
    ),
    "sse42": Profile(
        needs="SSE42",
        torch="default",
        onednn="SSE41",
        openblas="Nehalem",
        mkl="SSE4_2",
        ipp="sse42",
        opencv=("AVX", "FP16", "AVX2", "AVX512-SKX"),
        numpy=tuple(_AVX),
    ),
    "avx2": Profile(
        needs="AVX2",
        torch="avx2",
        onednn="AVX2",
        openblas="Haswell",
        mkl="AVX2",
        ipp="avx2",
        opencv=("AVX512-SKX",),
        numpy=tuple(_AVX512),
    ),
    "avx512": Profile(
        needs="AVX512_SKX",
        torch="avx512",
        onednn="AVX512_CORE",
        openblas="SkylakeX",
        mkl="AVX512",
        ipp="avx512",
        opencv=(),
        numpy=(),
    ),
}
PROBE = """
import json, cv2, torch
from numpy._core._multiarray_umath import __cpu_dispatch__ as built, __cpu_features__ as has
opencv = [name.strip("*") for name in cv2.getCPUFeaturesLine().split() if not name.endswith("?")]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), [name for name in built if has[name]], opencv]))
"""
"""What torch, NumPy and OpenCV use."""
OVERRULED = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "MKL_CBWR", "OPENCV_IPP")
OVERRULED += ("OPENCV_CPU_DISABLE", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "MKL_ENABLE_INSTRUCTIONS")


def plain_environment() -> dict[str, str]:
    """This process's, without any variable that a profile sets."""
    return {name: value for name, value in os.environ.items() if name not in OVERRULED}


def _probe(environment: dict[str, str]) -> tuple[str, frozenset[str], frozenset[str]]:
    line = [sys.executable, "-c", PROBE]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    torch, numpy, opencv = json.loads(done.stdout.splitlines()[-1])
    return torch, frozenset(numpy), frozenset(opencv)


def features() -> frozenset[str]:
    """What NumPy and OpenCV use of this processor, by their own names; SSE3 is in every x86-64 processor."""
    _, numpy, opencv = _probe(plain_environment())
    return numpy | opencv | ({"SSE3"} if os.uname().machine == "x86_64" else set())


def environment_of(name: str, has: frozenset[str]) -> dict[str, str] | str:
    """A whole environment in which libraries are held to a profile, or why this machine cannot imitate it."""
    profile = PROFILES[name]
    if profile.needs not in has:
        return f"cannot be imitated: this processor has no {profile.needs}"
    environment = plain_environment() | profile.environment(has)
    try:
        torch, numpy, opencv = _probe(environment)
    except subprocess.CalledProcessError as error:
        return f"did not come into force: importing torch, NumPy and OpenCV ended with {error.returncode}"
    if torch.lower() != profile.torch:
        return f"did not come into force: torch uses {torch}"
    if left := (numpy & set(profile.numpy)) | (opencv & set(profile.opencv)):
        return f"did not come into force: {', '.join(sorted(left))} still used"
    return environment


def _tests(environment: dict[str, str], quick: bool, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code and last line of the numeric tests; of the quick ones only, where that is wanted."""
    which = "numeric and not gpu and not comfyui" + (" and not slow" if quick else "")
    line = [sys.executable, "-m", "pytest", "-q", "-m", which, *arguments]
    last = ""
    with subprocess.Popen(line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if re.search(r"^(FAILED|ERROR|E  )", text):
                print("   ", text.rstrip(), flush=True)
            last = text.strip() or last
    return process.returncode, last


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.processors",
        description=(__doc__ or "").partition("\n\n")[0],
        epilog="What follows -- goes to pytest, such as -n 2 or the path of a test file.",
    )
    parser.add_argument(
        "profiles", nargs="*", metavar="PROFILE", help=f"of {', '.join(PROFILES)}; without any: every one"
    )
    parser.add_argument("--quick", action="store_true", help="leave out what has the mark slow, too")
    parser.add_argument("--list", action="store_true", help="print what each profile sets here, and run nothing")
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    options, to_pytest = parser.parse_args(given[:cut]), given[cut + 1 :]
    if unknown := [name for name in options.profiles if name not in PROFILES]:
        parser.error(f"there is no profile {', '.join(unknown)}; there are {', '.join(PROFILES)}")
    has, rows, failed = features(), [], 0
    for name in options.profiles or PROFILES:
        environment = environment_of(name, has)
        if isinstance(environment, str):
            rows.append((name, environment))
            failed |= "force" in environment
        elif options.list:
            rows.append((name, " ".join(f"{key}={environment[key]!r}" for key in OVERRULED if key in environment)))
        else:
            print(f"== {name}", flush=True)
            began = time.monotonic()
            code, last = _tests(environment, options.quick, to_pytest)
            rows.append((name, f"{last} (exit {code}, {time.monotonic() - began:.0f} s)"))
            failed |= code != 0
    print()
    for name, text in rows:
        print(f"{name:8}{text}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
