"""In which order an epoch sees its images (original `core/loader.py`, AnchorLoader)."""

import numpy as np

from dcn_tasks.streams import Draws


def epoch_order(
    count: int,
    draws: Draws,
    *,
    images_per_update: int = 1,
    shuffle: bool = True,
    wide: np.ndarray | None = None,
    original: bool = True,
) -> np.ndarray:
    """Which images each update of an epoch takes.

    Args:
        count: number of images. draws: of this epoch; sites "order.wide", "order.tall" and "order.rows".
        images_per_update: over all devices and processes; images that do not fill the last update are left out.
        wide: [count] bool, images at least as wide as high; None: no aspect grouping.
        original: keep the original's slice [:-0]: where images_per_update divides count, the rows of wide and tall images
            stay in order, all wide ones first. Otherwise rows are shuffled always, and at most one mixes wide and
            tall images.
    Returns: [updates, images_per_update] indices.
    """
    if wide is None or not shuffle:
        order = shuffled(count, draws, "order.wide") if shuffle else np.arange(count)
        return rows_of(order, images_per_update)
    groups = [members[shuffled(len(members), draws, site)] for members, site in (
        (np.flatnonzero(wide), "order.wide"), (np.flatnonzero(~wide), "order.tall"))]  # fmt: skip
    if not original:
        whole = [len(group) // images_per_update * images_per_update for group in groups]
        rest = [group[end:] for group, end in zip(groups, whole, strict=True)]
        groups = [*(group[:end] for group, end in zip(groups, whole, strict=True)), *rest]
    rows = rows_of(np.concatenate(groups), images_per_update)
    return rows if original and count % images_per_update == 0 else rows[shuffled(len(rows), draws, "order.rows")]


def rows_of(order: np.ndarray, length: int) -> np.ndarray:
    """[n] -> [n // length, length]; what is left over is dropped."""
    return order[: len(order) // length * length].reshape(-1, length)


def shuffled(count: int, draws: Draws, site: str) -> np.ndarray:
    """A permutation of range(count)."""
    return draws.choice(site, count, size=count, replace=False)
