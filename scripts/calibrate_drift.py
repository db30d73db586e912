"""How often the permutation tests of scripts/drift.py err, and what they find, over simulated windows.

    python scripts/calibrate_drift.py                     everything, a table on standard output
    python scripts/calibrate_drift.py --replicates 40     a small sample

A world has users of very different activity, who each have a level of their own and, on a day, one more or less in
common with their other rows of that day; those who are active more often are at a higher level. In `regulars` the same
users are there in the reference and in the window, in `newcomers` they come, stay for about a week and go, and in
`strangers` nobody of the reference is in the window. Seeds follow from the world and the replicate.
"""

from __future__ import annotations

import argparse
import math
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from _two_samples import (
    Blocks,
    Limits,
    compare_categories,
    compare_features,
    compare_numbers,
    matched_if_regular,
    text_features,
)
from rich.console import Console
from rich.progress import track
from rich.table import Table

LIMITS = Limits(least=199, most=199, most_costly=199)
TOPICS = 8
WORDS_OF_TOPIC = 60


@dataclass(frozen=True)
class World:
    """`users`: regulars, newcomers, strangers. `reference`: trailing (28 days, moves) or fixed (28 days, does not)."""

    users: str
    reference: str
    rows: int
    shift: float = 0.0
    features: str = "numbers"

    @property
    def label(self) -> str:
        return f"{self.users}, {self.reference} reference, about {self.rows:,} rows a day"


@dataclass(frozen=True)
class Rows:
    units: np.ndarray
    periods: np.ndarray
    level: np.ndarray


def draw_rows(world: World, days: int, rng: np.random.Generator) -> Rows:
    """Rows of `days` days, the last of which is the window (period -1)."""
    count = round(world.rows * {"regulars": 1.6, "newcomers": 8, "strangers": 3.2}[world.users])
    activity = rng.beta(0.6, 1.8, size=count)
    first = rng.integers(-7, days, size=count) if world.users == "newcomers" else np.full(count, -1000)
    last = first + 7 if world.users == "newcomers" else np.full(count, 1000)
    day = np.arange(days)[:, None]
    is_active = (rng.random((days, count)) < activity) & (day >= first) & (day < last)
    if world.users == "strangers":
        is_active[:-1, count // 2 :] = False
        is_active[-1, : count // 2] = False
    at, unit = np.nonzero(is_active)
    each = 1 + rng.poisson(1.5, size=len(at))
    own = 0.8 * rng.normal(size=count) / np.sqrt(2) + 1.2 * (activity - activity.mean())
    level = own[unit] + 0.5 * rng.normal(size=len(at))
    periods = np.where(at == days - 1, -1, at)
    return Rows(np.repeat(unit, each), np.repeat(periods, each), np.repeat(level, each))


def numbers(world: World, rng: np.random.Generator) -> dict[str, float]:
    rows = draw_rows(world, 29, rng)
    values = rows.level + 0.5 * rng.normal(size=len(rows.level)) + world.shift * (rows.periods < 0)
    blocks = matched_if_regular(rows.units, rows.periods, world.reference == "trailing")
    found = {name: test.p_value for name, test in compare_numbers(values, blocks, LIMITS, rng).items()}
    whole = compare_numbers(np.round(2 * values), blocks, LIMITS, rng)
    found["ks, integers"] = whole["ks"].p_value
    levels = np.floor(values).clip(-3, 3).astype(int).astype(str)
    found["psi, categories"] = compare_categories(levels, blocks, LIMITS, rng)["psi"].p_value
    return found


def texts(world: World, rng: np.random.Generator) -> dict[str, float]:
    """Users have a favourite topic each; `shift` is the share of the window's texts that are on a new topic."""
    rows = draw_rows(world, 2, rng)
    favourite = rng.integers(TOPICS, size=rows.units.max() + 1)
    topic = np.where(
        rng.random(len(rows.units)) < 0.7, favourite[rows.units], rng.integers(TOPICS, size=len(rows.units))
    )
    topic[(rows.periods < 0) & (rng.random(len(topic)) < world.shift)] = TOPICS
    words = topic[:, None] * WORDS_OF_TOPIC + rng.zipf(1.6, size=(len(topic), 12)) % WORDS_OF_TOPIC
    common = rng.integers(200, size=words.shape)
    chosen = np.where(rng.random(words.shape) < 0.5, words, 100_000 + common)
    said = [" ".join(f"w{word}" for word in row) for row in chosen]
    outcomes = compare_features(text_features(said), Blocks(rows.units, rows.periods), LIMITS, rng)
    return {f"{name}, texts": test.p_value for name, test in outcomes.items()}


def embeddings(world: World, rng: np.random.Generator) -> dict[str, float]:
    """64 dimensions, in each of which a user has a level of its own; `shift` is in sds of the first."""
    rows = draw_rows(world, 2, rng)
    own = rng.normal(size=(rows.units.max() + 1, 64)) * 0.7
    vectors = own[rows.units] + rng.normal(size=(len(rows.units), 64)) * 0.7
    vectors[rows.periods < 0, 0] += world.shift
    outcomes = compare_features(vectors, Blocks(rows.units, rows.periods), LIMITS, rng)
    return {f"{name}, embeddings": test.p_value for name, test in outcomes.items()}


KINDS: dict[str, Callable[[World, np.random.Generator], dict[str, float]]] = {
    "numbers": numbers,
    "texts": texts,
    "embeddings": embeddings,
}
WORLDS = [
    *(
        World(users, reference, rows, shift)
        for users, reference in (
            ("regulars", "trailing"),
            ("newcomers", "trailing"),
            ("regulars", "fixed"),
            ("newcomers", "fixed"),
            ("strangers", "fixed"),
        )
        for rows, shift in ((60, 0.0), (300, 0.0))
    ),
    *(World(users, "trailing", 1000, 0.2) for users in ("regulars", "newcomers")),
    *(World(users, "fixed", 1000, 0.2) for users in ("regulars", "strangers")),
    *(World("regulars", "trailing", 400, shift, "texts") for shift in (0.0, 0.1)),
    *(World("regulars", "trailing", 400, shift, "embeddings") for shift in (0.0, 0.5)),
]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=400, metavar="N", help="windows without drift (default: 400)")
    parser.add_argument("--features", choices=list(KINDS), action="append", help="only these")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(words)
    console = Console(highlight=False, width=140)
    table = Table(box=None)
    for column in ("world", "shift", "method", "windows", "p <= .05", "p <= .01"):
        table.add_column(column)
    worlds = [world for world in WORLDS if not arguments.features or world.features in arguments.features]
    for world in worlds:
        found = defaultdict(list)
        # A power is known well enough from a quarter of the windows that an error rate takes.
        replicates = range(arguments.replicates if world.shift == 0 else math.ceil(arguments.replicates / 4))
        for replicate in track(replicates, world.label, disable=not sys.stderr.isatty()):
            key = [arguments.seed, zlib.crc32(repr(world).encode()), replicate]
            for method, p_value in KINDS[world.features](world, np.random.default_rng(key)).items():
                found[method].append(p_value)
        for method, p_values in found.items():
            shares = [f"{100 * np.mean(np.array(p_values) <= level):.1f}%" for level in (0.05, 0.01)]
            table.add_row(world.label, f"{world.shift:g}", method, str(len(p_values)), *shares)
            print(world.label, world.shift, method, len(p_values), *shares, flush=True)
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
