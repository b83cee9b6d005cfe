"""Every random draw of training and proposal padding, keyed by (seed, step, site), so that both frameworks draw alike."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Draws:
    """Random streams of one training step. The same (seed, step, site) always gives the same stream.

    Args: seed, step: >= 0. A site is a short name, e.g. "proposal.padding".
    """

    seed: int
    step: int = 0

    def generator(self, site: str) -> np.random.Generator:
        """A fresh generator at the start of the site's stream."""
        key = np.random.SeedSequence([self.seed, self.step, zlib.crc32(site.encode())])
        return np.random.Generator(np.random.Philox(key))

    def choice(self, site: str, population: int | Sequence[int] | np.ndarray, size: int, replace: bool) -> np.ndarray:
        """`size` members of `population` (an array, or range(population) for an int), in the order drawn.

        Made of uniform numbers and a stable sort instead of Generator.choice, whose stream another NumPy may change:
        a recording made under NumPy 1 is replayed under NumPy 2.
        Raises: ValueError when there are not enough members.
        """
        members = np.arange(population) if isinstance(population, int | np.integer) else np.asarray(population)
        if size > 0 and (len(members) == 0 or (not replace and size > len(members))):
            raise ValueError(f"draws at {site}: cannot take {size} of {len(members)} members, replace={replace}")
        generator = self.generator(site)
        if replace:
            return members[np.floor(generator.random(size) * len(members)).astype(np.intp)]
        return members[np.argsort(generator.random(len(members)), kind="stable")[:size]]
