"""Which acupoints share a branch of the network: the nine meridians, and the ablations of that choice."""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.seeds import seed_of
from training.models.names import Grouping

GROUPINGS: tuple[Grouping, ...] = get_args(Grouping)
"""meridians: nine branches (A0). random: the same nine sizes, points drawn (A1). balanced: nine sizes as equal as
possible, points drawn (A2). unified: one branch for all 174 (A3, the acuSim baseline)."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """An assignment of acupoints to branches."""

    members: tuple[NDArray[np.int64], ...]
    """For each branch the acupoints in it, in the order of its outputs; together each of the 174 once."""

    @property
    def count(self) -> int:
        """G, the number of branches."""
        return len(self.members)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Points of each branch."""
        return tuple(len(member) for member in self.members)

    @property
    def order(self) -> NDArray[np.int64]:
        """[174] where each acupoint is among the outputs of all branches, one branch after the other."""
        return np.argsort(np.concatenate(self.members))

    @property
    def branch_of(self) -> NDArray[np.int64]:
        """[174] the branch of each acupoint."""
        return np.repeat(np.arange(self.count), self.sizes)[self.order]


def make_groups(grouping: Grouping, seed: int = 0) -> Groups:
    """The branches of a grouping; ``seed`` draws the points of the random ones."""
    meridians = [np.arange(acupoints.COUNT)[acupoints.meridian_slice(name)] for name in acupoints.MERIDIANS]
    if grouping == "meridians":
        return Groups(tuple(meridians))
    if grouping == "unified":
        return Groups((np.arange(acupoints.COUNT),))
    drawn = np.random.default_rng(seed_of("groups", grouping, seed)).permutation(acupoints.COUNT)
    if grouping == "random":
        cuts = np.cumsum([len(member) for member in meridians])[:-1]
        return Groups(tuple(np.sort(part) for part in np.split(drawn, cuts)))
    return Groups(tuple(np.sort(part) for part in np.array_split(drawn, len(meridians))))
