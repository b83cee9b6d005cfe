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
        """`size` members of `population` (an array, or range(population) for an int)."""
        return self.generator(site).choice(population, size=size, replace=replace)
