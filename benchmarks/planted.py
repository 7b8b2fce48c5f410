"""Data whose clusters are known, at any size, made block by block.

    python -m benchmarks.planted mixture --num-tokens 1000000 --num-columns 410 --folder DIR
    python -m benchmarks.planted replicas --run runs/demo --copies 50 --folder DIR
    python -m benchmarks.planted graph --folder DIR

`chi.npy` is float32 and written through a memory map, `label.npy` is int32 with −1 for the body;
`graph.npz` holds indptr, indices, weights and label. A block depends on its own number and on
nothing that was drawn before it, so no more than one is ever in memory.

Shapes: N tokens, H columns, B tokens of a block, C planted clusters.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted_graph import BODY, planted_graph, write_graph
from benchmarks.replicas import Replicas

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]

BLOCK_ROWS = 8192
"""Tokens of a block of a mixture."""


class Planted(Protocol):
    """Tokens that can be made block by block."""

    @property
    def shape(self) -> tuple[int, int]:
        """N, H."""
        ...

    @property
    def label_N(self) -> Int32 | None:
        """Planted cluster of each token, or None where the truth is not known."""
        ...

    def blocks(self) -> Iterator[Float32]:
        """χ in order, float32 [B, H]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A heavy-tailed body with a power-law spectrum, and clusters scattered in it.

    Body tokens are Gaussian with deviations h^−0.35 over √(χ²₅ / 5), rotated: hard for search by
    inverted files, since nothing in it can be distinguished. A cluster is 1.5 times one such token,
    plus Gaussian noise of `spread` times the same deviations. Columns differ in scale by 10⁴.
    """

    num_tokens: int
    num_columns: int
    body_share: float = 0.65
    """Share of the tokens that belong to no cluster."""
    spread: float = 0.35
    """Width of a cluster as a share of the body's."""
    min_size: int = 20
    max_size: int = 1000
    """Sizes are drawn from a power law of exponent −2 between the two."""
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """N, H."""
        return self.num_tokens, self.num_columns

    @cached_property
    def size_C(self) -> Int32:
        """Sizes of the planted clusters, in the order drawn; together 1 − body_share."""
        num_planted = round((1.0 - self.body_share) * self.num_tokens)
        if num_planted < self.min_size:
            raise ValueError(
                f"a share of {1 - self.body_share:g} of {self.num_tokens} tokens is less than one "
                f"cluster of {self.min_size}: ask for more tokens or a smaller body"
            )
        rng = np.random.default_rng((self.seed, 1))
        ratio = self.min_size / self.max_size
        num_drawn = num_planted // self.min_size
        drawn = self.min_size / (1.0 - rng.random(num_drawn) * (1.0 - ratio))
        sizes = drawn.astype(np.int32)
        num_whole = int(np.searchsorted(np.cumsum(sizes), num_planted, side="right"))
        return sizes[: max(num_whole, 1)]

    @cached_property
    def label_N(self) -> Int32:
        """Cluster of every token, BODY for most."""
        label = np.full(self.num_tokens, BODY, np.int32)
        members = np.repeat(np.arange(self.size_C.size, dtype=np.int32), self.size_C)
        label[: members.size] = members[: self.num_tokens]
        np.random.default_rng((self.seed, 2)).shuffle(label)
        return label

    def blocks(self) -> Iterator[Float32]:
        """χ in order, float32 [B, H]."""
        for start in range(0, self.num_tokens, BLOCK_ROWS):
            yield self.block(start // BLOCK_ROWS)

    def block(self, index: int) -> Float32:
        """Block `index` alone: rows index · BLOCK_ROWS and on."""
        label_B = self.label_N[index * BLOCK_ROWS : (index + 1) * BLOCK_ROWS]
        rng = np.random.default_rng((self.seed, 3, index))
        chi = self._body(rng, label_B.size)
        planted = np.flatnonzero(label_B != BODY)
        noise = rng.normal(size=(planted.size, self.num_columns)) * self._deviation_H
        chi[planted] = self._centre_CH[label_B[planted]] + self.spread * noise
        scale_H = np.logspace(-3, 1, self.num_columns)
        block: Float32 = ((chi @ self._rotation_HH) * scale_H).astype(np.float32)
        return block

    def _body(self, rng: np.random.Generator, count: int) -> Float64:
        tail = np.sqrt(rng.chisquare(5, (count, 1)) / 5)
        body: Float64 = rng.normal(size=(count, self.num_columns)) * self._deviation_H / tail
        return body

    @cached_property
    def _deviation_H(self) -> Float64:
        deviation: Float64 = np.arange(1, self.num_columns + 1) ** -0.35
        return deviation

    @cached_property
    def _rotation_HH(self) -> Float64:
        rng = np.random.default_rng((self.seed, 4))
        rotation: Float64 = np.linalg.qr(rng.normal(size=(self.num_columns,) * 2))[0]
        return rotation

    @cached_property
    def _centre_CH(self) -> Float64:
        return 1.5 * self._body(np.random.default_rng((self.seed, 5)), self.size_C.size)


def write_chi(planted: Planted, folder: Path) -> Path:
    """Write chi.npy and, where it is known, label.npy; returns the former's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "chi.npy"
    chi_NH = np.lib.format.open_memmap(path, "w+", np.float32, planted.shape)
    row = 0
    for block in planted.blocks():
        chi_NH[row : row + block.shape[0]] = block
        row += block.shape[0]
    assert row == planted.shape[0]
    chi_NH.flush()
    if planted.label_N is not None:
        np.save(folder / "label.npy", planted.label_N)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one kind of data into a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["mixture", "replicas", "graph"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--num-tokens", type=int, default=10_000)
    parser.add_argument("--num-columns", type=int, default=32)
    parser.add_argument("--spread", type=float, default=0.35)
    parser.add_argument("--run", type=Path, help="run folder whose χ is replicated")
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.kind == "graph":
        graph, label = planted_graph(seed=options.seed)
        write_graph(graph, label, options.folder / "graph.npz")
        print(f"{graph.num_nodes} nodes, {graph.indices.size} entries")
        return
    if options.kind == "replicas" and options.run is None:
        parser.error("replicas need --run, the folder of a finished run")
    planted: Planted = (
        Replicas(run=options.run, copies=options.copies, noise=options.noise, seed=options.seed)
        if options.kind == "replicas"
        else Mixture(
            num_tokens=options.num_tokens,
            num_columns=options.num_columns,
            spread=options.spread,
            seed=options.seed,
        )
    )
    path = write_chi(planted, options.folder)
    print(f"{path}: {planted.shape[0]} x {planted.shape[1]}")


if __name__ == "__main__":
    main()
