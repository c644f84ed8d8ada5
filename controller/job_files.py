"""Where the files of samples come from, and where results go: the disk, or messages."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from acusim.errors import AcuSimError, LayoutError, OutputError
from acusim.files import safe_join, sha256
from acusim.pictures import read_file
from acusim.point_mask import mask_path
from controller.job import Job, JobResult
from controller.output_files import write_file
from controller.samples import SampleFiles, read_sample


class Files(ABC):
    """Where the files of samples come from, and results go."""

    root: Path
    """Of the data set."""

    @abstractmethod
    def read(self, job: Job) -> SampleFiles:
        """The files of a job's sample.

        Raises:
            AcuSimError: they cannot be read.
        """

    @abstractmethod
    def write(self, result: JobResult) -> JobResult:
        """The result when its files are where they belong, or why they are not."""


class Disk(Files):
    """Files of a data set and of OUT."""

    def __init__(self, root: Path, output: Path):
        self.root, self.output = root, output

    def read(self, job: Job) -> SampleFiles:
        return read_sample(job, self.root)

    def write(self, result: JobResult) -> JobResult:
        """Writes label, depth and point mask, then the image: an image on disk always has its label."""
        try:
            for relative, content in result.files:
                write_file(self.output, relative, content)
        except OutputError as error:
            return JobResult(result.key, fatal=str(error))
        except LayoutError as error:
            return JobResult.skip(result.key, error)
        return dataclasses.replace(result, files=())


class Sent(Files):
    """Files that came with a task; results carry theirs back."""

    def __init__(self, samples: Mapping[str, SampleFiles]):
        """Takes the samples of all jobs of a task, by key."""
        self.root, self._samples = Path(), samples

    def read(self, job: Job) -> SampleFiles:
        return self._samples[job.key]

    def write(self, result: JobResult) -> JobResult:
        return result


def found(job: Job, result: JobResult, output: Path) -> JobResult:
    """The result of a worker elsewhere that wrote its files itself, once its image is found to be what it says."""
    if result.key != job.key:
        return JobResult.skip(job.key, f"a worker answered with another file: {result.key}")
    if result.skipped is None and result.fatal is None:
        try:
            data = read_file(safe_join(output, job.key))
        except AcuSimError as error:
            return JobResult.skip(job.key, f"a worker did not write it: {error}; do all nodes see the same OUT?")
        if sha256(data) != result.sha256:
            return JobResult.skip(job.key, "a worker wrote another image; do all nodes see the same OUT?")
    return result


def received(job: Job, result: JobResult, output: Path) -> JobResult:
    """The result of a worker elsewhere when its files are written, once they are found to be what they should be."""
    sample, allowed = job.sample, {job.key}
    allowed |= {job.folder + path for path in (*sample.copied.values(), mask_path(sample.image))}
    names = [relative for relative, _ in result.files]
    if result.key != job.key or not allowed.issuperset(names):
        return JobResult.skip(job.key, f"a worker answered with other files: {', '.join([result.key, *names])}")
    made = result.skipped is None and result.fatal is None
    if made and (names[-1:] != [job.key] or sha256(result.files[-1][1]) != result.sha256):
        return JobResult.skip(job.key, "a worker answered with an image that is not the one it names")
    return Disk(Path(), output).write(result)
