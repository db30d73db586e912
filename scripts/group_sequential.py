"""Group-sequential boundaries (Lan and DeMets) for the experiments that declare `planned_units` and `planned_looks`.

    python scripts/group_sequential.py                        compute what dim_experiments asks for, and store it
    python scripts/group_sequential.py --target prod          the same in another target of the dbt profile
    python scripts/group_sequential.py --looks 4              print the boundaries of 4 equal looks, store nothing
    python scripts/group_sequential.py --fractions 0.5 0.8 1  the same for other information fractions

Run it from the folder of the dbt project, after dbt has built `dim_experiments`, and again when an experiment with
another alpha or another number of looks is registered. The rows go to `group_sequential_boundaries`; a run replaces
those that it computes and leaves the others. Exit code: 0 done, 2 not done (the reason is on standard error).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import numpy as np
from _warehouse import Warehouse, WarehouseError, add_arguments, open_warehouse
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import brentq
from scipy.special import log_ndtr, logsumexp, roots_legendre
from scipy.stats import norm

MODEL = "group_sequential_boundaries"
KEYS = ("spending", "alpha", "planned_looks")
MAX_LOOKS = 1000
MIN_STEP = 1e-4
# Of the quadrature, per standard deviation of the shortest step between looks.
NODES_PER_SD = 6
MIN_NODES = 64
SMALLEST = 1e-300


@dataclass(frozen=True)
class Boundary:
    """A row of the model."""

    spending: str
    alpha: float
    planned_looks: int
    look_number: int
    information_fraction: float
    boundary_z: float
    nominal_p_value: float
    spent_alpha: float


def _ln_obrien_fleming(tail: float, fraction: float) -> float:
    return math.log(2) + float(log_ndtr(-norm.isf(tail / 2) / math.sqrt(fraction)))


def _ln_pocock(tail: float, fraction: float) -> float:
    return math.log(tail) + math.log(math.log1p((math.e - 1) * fraction))


# The logarithm of what one tail has spent at an information fraction. At 28 looks the first spends 1e-32: logarithms
# keep the digits that a difference from 1 would lose.
SPENDING: dict[str, Callable[[float, float], float]] = {"obrien_fleming": _ln_obrien_fleming, "pocock": _ln_pocock}


@lru_cache(maxsize=16)
def _quadrature(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    points, weights = roots_legendre(nodes)
    return points, np.log(weights)


class Walk:
    """The score process B = z sqrt(t) of an experiment without effect that has not stopped yet.

    Kept as masses at the nodes of a Gauss-Legendre rule on the last continuation region, in logarithms. Increments
    between looks are independent and normal, with the difference of the information fractions as their variance.
    """

    def __init__(self) -> None:
        self.fraction = 0.0
        self.nodes = np.zeros(1)
        self.ln_masses = np.zeros(1)

    def ln_above(self, limit: float, fraction: float) -> float:
        """The log probability of not having stopped before and being above a limit at the next look."""
        sd = math.sqrt(fraction - self.fraction)
        return float(logsumexp(self.ln_masses + log_ndtr((self.nodes - limit) / sd)))

    def go_on(self, limit: float, fraction: float, next_fraction: float) -> None:
        """Moves on to a look, without those who are beyond the limit on either side."""
        step = fraction - self.fraction
        shortest = math.sqrt(min(step, next_fraction - fraction))
        # Rounded up, so that looks share their rules.
        count = 32 * math.ceil(max(MIN_NODES, NODES_PER_SD * 2 * limit / shortest) / 32)
        points, ln_weights = _quadrature(count)
        nodes = limit * points
        exponents = self.ln_masses[None, :] - (nodes[:, None] - self.nodes[None, :]) ** 2 / (2 * step)
        ln_density = logsumexp(exponents, axis=1) - 0.5 * math.log(2 * math.pi * step)
        self.fraction, self.nodes = fraction, nodes
        self.ln_masses = ln_density + ln_weights + math.log(limit)


def boundaries(spending: str, alpha: float, fractions: Sequence[float]) -> list[Boundary]:
    """The two-sided boundary of each look, by recursive integration over the looks before it."""
    check(alpha, fractions)
    ln_spent = partial(SPENDING[spending], alpha / 2)
    walk, ln_before, rows = Walk(), -math.inf, []
    for number, fraction in enumerate(fractions, 1):
        ln_now = ln_spent(fraction)
        ln_to_spend = ln_now + math.log1p(-math.exp(ln_before - ln_now))
        # Half of the walks are above zero, and at most this part is above the other end even if none had stopped.
        ends = (0.0, math.sqrt(-2 * ln_to_spend * fraction))
        excess = partial(lambda limit, at, target: walk.ln_above(limit, at) - target, at=fraction, target=ln_to_spend)
        limit = brentq(excess, *ends, xtol=1e-14, rtol=1e-14)
        z = limit / math.sqrt(fraction)
        rows.append(
            Boundary(
                spending=spending,
                alpha=alpha,
                planned_looks=len(fractions),
                look_number=number,
                information_fraction=fraction,
                boundary_z=z,
                nominal_p_value=max(2 * float(norm.sf(z)), SMALLEST),
                spent_alpha=max(2 * math.exp(ln_now), SMALLEST),
            )
        )
        if number < len(fractions):
            walk.go_on(limit, fraction, fractions[number])
        ln_before = ln_now
    return rows


def crossing_probability(limits: Sequence[float], fractions: Sequence[float]) -> float:
    """The probability that |z| exceeds its limit at any look, without an effect."""
    walk, total = Walk(), 0.0
    for number, (z, fraction) in enumerate(zip(limits, fractions, strict=True), 1):
        limit = z * math.sqrt(fraction)
        total += 2 * math.exp(walk.ln_above(limit, fraction))
        if number < len(fractions):
            walk.go_on(limit, fraction, fractions[number])
    return total


def equal_fractions(looks: int) -> list[float]:
    return [number / looks for number in range(1, looks + 1)]


def check(alpha: float, fractions: Sequence[float]) -> None:
    """Refuses what has no boundaries."""
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha:g}; allowed: above 0, below 0.5")
    if not 1 <= len(fractions) <= MAX_LOOKS:
        raise ValueError(f"{len(fractions)} looks; allowed: 1 to {MAX_LOOKS}")
    steps = np.diff([0.0, *fractions])
    if not (steps >= MIN_STEP).all() or fractions[-1] > 1:
        raise ValueError(f"information fractions must rise by at least {MIN_STEP:g}, from above 0 to at most 1")


def wanted(warehouse: Warehouse) -> tuple[list[tuple[float, int]], list[str]]:
    """Alpha and number of looks of the experiments that plan both units and looks; and what cannot be computed."""
    experiments = warehouse.rows(
        f"select experiment_id, alpha, planned_looks from {warehouse.relation('dim_experiments')} "
        "where planned_units is not null and planned_looks is not null order by experiment_id"
    )
    found, refused = set(), []
    for row in experiments:
        alpha, looks = float(row["alpha"]), float(row["planned_looks"])
        if looks.is_integer() and 1 <= looks <= MAX_LOOKS:
            found.add((alpha, int(looks)))
        else:
            refused.append(
                f"experiment {row['experiment_id']}: planned_looks is {looks:g}; "
                f"allowed: whole numbers from 1 to {MAX_LOOKS}"
            )
    return sorted(found), refused


def store(arguments: argparse.Namespace, spendings: Sequence[str], console: Console) -> None:
    with open_warehouse(arguments) as warehouse:
        warehouse.relation(MODEL, kinds=("table",))
        plans, refused = wanted(warehouse)
        for sentence in refused:
            print(f"group_sequential: {sentence}", file=sys.stderr)
        jobs = [(spending, alpha, looks) for spending in spendings for alpha, looks in plans]
        if not jobs:
            console.print("nothing to compute: no experiment declares planned_units and planned_looks")
            return
        rows: list[Boundary] = []
        for spending, alpha, looks in track(jobs, "boundaries", console=console, disable=not console.is_terminal):
            rows += boundaries(spending, alpha, equal_fractions(looks))
            console.print(f"{spending}, alpha {alpha:g}, planned looks {looks}")
        warehouse.replace_rows(MODEL, KEYS, [asdict(row) for row in rows])
        console.print(f"{len(rows)} rows of {MODEL} written")


def show(rows: Sequence[Boundary], console: Console) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("spending", "alpha", "look", "fraction", "boundary z", "nominal p", "spent alpha"):
        table.add_column(column, justify="left" if column == "spending" else "right")
    for row in rows:
        table.add_row(
            *(row.spending, f"{row.alpha:g}", str(row.look_number), f"{row.information_fraction:.4f}"),
            *(f"{row.boundary_z:.4f}", f"{row.nominal_p_value:.3g}", f"{row.spent_alpha:.3g}"),
        )
    console.print(table)


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spending", action="append", choices=list(SPENDING), help="only this one (default: both)")
    printing = parser.add_argument_group("to print boundaries without a warehouse")
    looks = printing.add_mutually_exclusive_group()
    looks.add_argument("--looks", type=int, metavar="K", help="so many looks, equally spaced")
    looks.add_argument("--fractions", type=float, nargs="+", metavar="T", help="looks at these information fractions")
    printing.add_argument("--alpha", type=float, action="append", help="two-sided error rate (default: 0.05)")
    add_arguments(parser)
    arguments = parser.parse_args(words)
    if arguments.alpha and arguments.looks is None and arguments.fractions is None:
        parser.error("--alpha is for --looks or --fractions; experiments bring their own")
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    spendings = arguments.spending or list(SPENDING)
    console = Console(highlight=False)
    try:
        if arguments.looks is None and arguments.fractions is None:
            store(arguments, spendings, console)
        else:
            fractions = arguments.fractions or equal_fractions(arguments.looks)
            pairs = [(spending, alpha) for spending in spendings for alpha in arguments.alpha or [0.05]]
            show([row for pair in pairs for row in boundaries(*pair, fractions)], console)
    except (WarehouseError, ValueError) as error:
        print(f"group_sequential: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
