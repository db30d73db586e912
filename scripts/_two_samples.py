"""Whether two samples of clustered rows have one distribution: statistics, and their permutation by unit.

Needs no warehouse. The words used here: a *row* is an observation; a *unit* (a user) has several, which are alike; a
*period* is a stretch of time as long as the window; a *block* is what one unit did in one period, and is never torn
apart. The window is one period, the reference one or more.

What is dealt. Labels of blocks cannot simply be shuffled: a unit has up to 28 blocks in a reference of 28 days and at
most one in the window, and its blocks are alike. So units are dealt, in two steps. Among units with equally many
blocks, those that have one in the window are drawn at random, as many as there are; then each of these gives a block at
random to the window and the others to the reference. This is exact, whatever the correlation within units, where units
active in equally many periods could have been active in one another's periods, and a unit's periods in one another's
place. A unit of one block is dealt as in any permutation test, a unit that is on both sides with one block each changes
its two sides or does not. To deal the (unit, side) blocks of such units one by one would be conservative: a unit's own
level, which cancels from the difference where it is on both sides, would be counted twice in the null. To deal all of
its rows as a whole to one side would be as wrong, and the window would get the reference's large blocks.

Where the reference does not move with the window (a fixed one, a training set), or users come and go, how many blocks a
unit has says on which side it is, and those with as many are not its like: dealing among them would find little. Then
what is dealt is *profiles*: how many blocks the unit gives to the window and to the reference. A unit that has fewer
blocks than its profile asks for counts each with a weight above 1, so that large units stay large, together. This is
the ordinary permutation test where every unit has one block, and an approximation, about right, elsewhere.

Sources: Stephens (1970) for the distance that is permuted, Besag and Clifford (1991) for when to stop, Lopez-Paz and
Oquab (2017) for the classifier test, Gretton et al. (2012) for the maximum mean discrepancy and its median heuristic,
Knijnenburg et al. (2009) for tails from fewer permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import chi2, pearson3, rankdata
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import KernelCenterer, StandardScaler

SHARE_FLOOR = 1e-4
# Exceedances after which more permutations change no decision.
ENOUGH_EXCEEDANCES = 20
# Fewer than these of all permutations: a tail is fitted to them, where they are too costly for more.
TAIL_EXCEEDANCES = 10
# Distinct values beyond which a permutation compares quantiles of the two together.
MOST_POINTS = 1024
# Numbers in an array of one batch of permutations: 64 MB.
BATCH_NUMBERS = 8_000_000
FOLDS = 5
LEAST_UNITS, LEAST_UNITS_OF_SIDE = 10, 5
RIDGE = 1.0
MOST_WORDS = 20_000
# Letters of scripts that put no space between words stand for themselves.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
WORD = f"[{UNSPACED}]|[^\\W{UNSPACED}]+"


@dataclass(frozen=True)
class Outcome:
    """A statistic and how often a permutation reached it. Where `is_tail_fitted`, the p-value is that of a tail."""

    statistic: float
    p_value: float
    permutations: int
    is_tail_fitted: bool = False


@dataclass(frozen=True)
class Limits:
    """How many permutations: at least `least`, then until `ENOUGH_EXCEEDANCES` of them, at most `most`."""

    least: int = 999
    most: int = 99_999
    most_costly: int = 9_999


class Blocks:
    """Rows of both samples as blocks, sorted by unit.

    `units` (rows) is the code of each row's unit and `periods` (rows) its period, -1 in the window. `is_matched`: the
    reference moves with the window, so that units with equally many blocks can change places. `matched_if_regular` is
    the choice between the two for it.
    """

    def __init__(self, units: np.ndarray, periods: np.ndarray, is_matched: bool = True) -> None:
        if len(units) != len(periods) or not len(units):
            raise ValueError(f"{len(units)} units and {len(periods)} periods; allowed: one of each per row")
        pairs, self.of_row = np.unique(np.column_stack([units, periods]), axis=0, return_inverse=True)
        self.of_row = self.of_row.ravel()
        self.count = len(pairs)
        self.period_count = len(np.unique(pairs[:, 1]))
        self.in_window = pairs[:, 1] < 0
        _, self.starts, self.sizes = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        self.unit_of_block = np.repeat(np.arange(len(self.starts)), self.sizes)
        self.window_blocks = np.bincount(self.unit_of_block, weights=self.in_window).astype(int)
        self.reference_blocks = self.sizes - self.window_blocks
        self.is_matched = bool(is_matched or (self.sizes == 1).all())

    def is_regular(self) -> bool:
        """Whether being in the window is a matter of chance: of units with k blocks in p periods, k / p of them are.

        By chi-square at 1% over the groups of equal k. It looks at who was active when and at no value, so that tests
        that are valid either way stay so when this chooses between them.
        """
        sizes, group = np.unique(self.sizes, return_inverse=True)
        share = sizes / self.period_count
        expected = np.bincount(group) * share
        found = np.bincount(group, weights=self.window_blocks)
        spread = expected * (1 - share)
        counted = spread > 0
        if (found != expected)[~counted].any():
            return False
        squares = (found - expected)[counted] ** 2 / spread[counted]
        return bool(chi2.sf(squares.sum(), max(counted.sum(), 1)) > 0.01)

    @property
    def window_of_row(self) -> np.ndarray:
        return self.in_window[self.of_row]

    def sums(self, codes: np.ndarray, width: int) -> sparse.csr_array:
        """(blocks, width): how many rows of each block have each code."""
        ones = np.ones(len(codes))
        return sparse.csr_array(sparse.coo_array((ones, (self.of_row, codes)), shape=(self.count, width)))

    def deal(self, count: int, rng: np.random.Generator) -> sparse.csr_array:
        """(count, blocks): which blocks are the window's in each of `count` permutations of matched units."""
        chosen = []
        for size in np.unique(self.sizes):
            units = np.flatnonzero(self.sizes == size)
            wanted = int(self.window_blocks[units].sum())
            if wanted == 0:
                continue
            drawn = np.broadcast_to(units, (count, len(units)))
            if wanted < len(units):
                lots = rng.random((count, len(units)), dtype=np.float32)
                drawn = units[np.argpartition(lots, wanted - 1, axis=1)[:, :wanted]]
            chosen.append(self.starts[drawn] + rng.integers(size, size=drawn.shape))
        blocks = np.concatenate(chosen, axis=1)
        ends = np.arange(count + 1) * blocks.shape[1]
        return sparse.csr_array((np.ones(blocks.size), blocks.ravel(), ends), shape=(count, self.count))

    def deal_profiles(self, count: int, rng: np.random.Generator) -> tuple[sparse.csr_array, np.ndarray]:
        """Two times (count, blocks): the weights of blocks in the window and in the reference, where profiles move."""
        order = np.argsort(rng.random((count, len(self.sizes))), axis=1)
        for_window, for_reference = self.window_blocks[order] > 0, self.reference_blocks[order]
        picked = self.starts + rng.integers(self.sizes, size=order.shape)
        numbers, units = np.nonzero(for_window)
        window = sparse.csr_array((np.ones(len(numbers)), (numbers, picked[numbers, units])), shape=(count, self.count))
        left = self.sizes - (for_window & (self.sizes > 1))
        reference = np.repeat(for_reference / left, self.sizes, axis=1)
        torn = self.sizes[units] > 1
        reference[numbers[torn], picked[numbers[torn], units[torn]]] = 0
        return window, reference

    def deal_sums(self, sums: sparse.csr_array, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two times (count, width): sums of the window and of the reference in each permutation."""
        if self.is_matched:
            window = (self.deal(count, rng) @ sums).toarray()
            return window, np.asarray(sums.sum(axis=0)) - window
        window, reference = self.deal_profiles(count, rng)
        return (window @ sums).toarray(), (sums.T @ reference.T).T


def matched_if_regular(units: np.ndarray, periods: np.ndarray, moves: bool = True) -> Blocks:
    """Blocks whose units are dealt among those with as many blocks, or as profiles where that would match unlikes."""
    blocks = Blocks(units, periods, moves)
    return blocks if not moves or blocks.is_regular() else Blocks(units, periods, False)


def permute(
    observed: Sequence[float],
    draw: Callable[[int], np.ndarray],
    limits: Limits,
    batch: int,
    is_costly: bool = False,
) -> list[Outcome]:
    """The p-values of statistics, great ones of which speak against the null.

    `draw(count)` gives (count, statistics) of `count` permutations. Each p-value is (1 + exceedances) / (1 +
    permutations) after `least` permutations or, with too few exceedances until then, at the one that makes them
    enough: the probability of p <= a is at most a for every a (Besag and Clifford; until `least` the number is fixed).
    """
    target = np.asarray(observed, dtype=float)
    # Sums in another order differ in their last digits.
    reached = np.where(np.isfinite(target), target * (1 - 1e-9), target)
    most = max(limits.least, limits.most_costly if is_costly else limits.most)
    exceedances = np.zeros(len(target), dtype=int)
    stopped = np.zeros(len(target), dtype=int)
    kept: list[np.ndarray] = []
    made = 0
    while made < most and not stopped.all():
        count = min(batch, (limits.least if made < limits.least else most) - made)
        statistics = draw(count)
        if is_costly:
            kept.append(statistics)
        running = exceedances + np.cumsum(statistics >= reached, axis=0)
        for column in np.flatnonzero(stopped == 0):
            if made < limits.least:
                exceedances[column] = running[-1, column]
                continue
            at = int(np.searchsorted(running[:, column], ENOUGH_EXCEEDANCES))
            exceedances[column] = running[min(at, count - 1), column]
            if at < count:
                stopped[column] = made + at + 1
        made += count
        if made == limits.least:
            stopped[exceedances >= ENOUGH_EXCEEDANCES] = made
    stopped[stopped == 0] = made
    outcomes = []
    for column, statistic in enumerate(target):
        p_value = (1 + exceedances[column]) / (1 + stopped[column])
        fitted = False
        if is_costly and exceedances[column] < TAIL_EXCEEDANCES and stopped[column] >= limits.most_costly:
            tail = _tail(np.concatenate([part[:, column] for part in kept]), float(statistic))
            fitted, p_value = True, max(min(tail, p_value), 1e-300)
        outcomes.append(Outcome(float(statistic), float(p_value), int(stopped[column]), fitted))
    return outcomes


def _tail(permuted: np.ndarray, statistic: float) -> float:
    """P(X >= statistic) of the Pearson type III distribution that has the mean, sd and skewness of permuted values."""
    mean, sd = permuted.mean(), permuted.std()
    if sd == 0:
        return 1.0
    skewness = max(float((((permuted - mean) / sd) ** 3).mean()), 0.0)
    return float(pearson3.sf(statistic, skewness, loc=mean, scale=sd))


def psi(reference: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Population stability index of counts (..., bins): sum (q - p) ln(q / p), shares of at least 1e-4."""
    p = np.maximum(reference / reference.sum(axis=-1, keepdims=True), SHARE_FLOOR)
    q = np.maximum(window / window.sum(axis=-1, keepdims=True), SHARE_FLOOR)
    return ((q - p) * np.log(q / p)).sum(axis=-1)


def number_statistics(reference: np.ndarray, window: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n, 3): KS distance, Wasserstein distance over the reference's population sd, PSI over the reference's deciles.

    `reference` and `window` (n, values) are counts of each value in each of n pairs of samples; `values` rises. The
    second is infinite where the reference is constant and the window is not. The k-th decile is the first value at or
    below which k tenths of the reference are.
    """
    reference_below, window_below = np.cumsum(reference, axis=1), np.cumsum(window, axis=1)
    reference_n, window_n = reference_below[:, -1:], window_below[:, -1:]
    gaps = np.abs(reference_below / reference_n - window_below / window_n)
    mean = (reference @ values)[:, None] / reference_n
    variance = (reference * (values - mean) ** 2).sum(axis=1) / reference_n[:, 0]
    # A mean's last digit is no variance.
    variance[(reference > 0).sum(axis=1) == 1] = 0
    area = (gaps[:, :-1] * np.diff(values)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(area == 0, 0.0, area / np.sqrt(variance))
    parts = reference_n * np.arange(1, 10) / 10
    edges = np.stack([np.searchsorted(below, part - 1e-9) for below, part in zip(reference_below, parts, strict=True)])
    bins = [
        np.diff(np.take_along_axis(below, edges, axis=1), axis=1, prepend=0, append=total)
        for below, total in ((reference_below, reference_n), (window_below, window_n))
    ]
    return np.column_stack([gaps.max(axis=1), distance, psi(*bins)])


def compare_numbers(values: np.ndarray, blocks: Blocks, limits: Limits, rng: np.random.Generator) -> dict[str, Outcome]:
    """KS, Wasserstein and PSI of `values` (rows). Without a method whose statistic is not defined."""
    names = ["ks", "wasserstein", "psi"]
    points, codes = np.unique(values, return_inverse=True)
    exact = _observed(number_statistics, blocks, codes, points)
    if len(points) > MOST_POINTS:
        # Quantiles of both together are the same in every permutation.
        ranks = np.linspace(0, len(values) - 1, MOST_POINTS).round().astype(int)
        points = np.unique(np.sort(values)[ranks])
        codes = np.searchsorted(points, values)
    compared = _observed(number_statistics, blocks, codes, points)
    sums = blocks.sums(codes, len(points))

    def draw(count: int) -> np.ndarray:
        window, reference = blocks.deal_sums(sums, count, rng)
        return number_statistics(reference, window, points)

    outcomes = permute(compared, draw, limits, _batch(blocks, len(points)))
    return {
        name: Outcome(float(statistic), outcome.p_value, outcome.permutations)
        for name, statistic, outcome in zip(names, exact, outcomes, strict=True)
        if np.isfinite(statistic) and not (name == "wasserstein" and _is_constant(values[~blocks.window_of_row]))
    }


def compare_categories(
    categories: np.ndarray, blocks: Blocks, limits: Limits, rng: np.random.Generator
) -> dict[str, Outcome]:
    """PSI of `categories` (rows)."""
    levels, codes = np.unique(categories, return_inverse=True)
    sums = blocks.sums(codes, len(levels))
    observed = _observed(lambda reference, window, _: psi(reference, window)[:, None], blocks, codes, levels)

    def draw(count: int) -> np.ndarray:
        window, reference = blocks.deal_sums(sums, count, rng)
        return psi(reference, window)[:, None]

    return {"psi": permute(observed, draw, limits, _batch(blocks, len(levels)))[0]}


def _observed(
    statistics: Callable[..., np.ndarray], blocks: Blocks, codes: np.ndarray, points: np.ndarray
) -> np.ndarray:
    is_window = blocks.window_of_row
    counts = [
        np.bincount(codes[side], minlength=len(points)).astype(float)[None, :] for side in (~is_window, is_window)
    ]
    return statistics(*counts, points)[0]


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


def _batch(blocks: Blocks, width: int) -> int:
    return max(1, min(2000, BATCH_NUMBERS // max(width, blocks.count)))


def text_features(texts: Sequence[str]) -> sparse.csr_matrix:
    """TF-IDF of words, rows of length 1; weights come from both samples together, whatever the labels."""
    vectorizer = TfidfVectorizer(token_pattern=WORD, max_features=MOST_WORDS, sublinear_tf=True)
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:
        # Not one word in any text.
        return sparse.csr_matrix((len(texts), 1))


def compare_features(
    features: np.ndarray | sparse.csr_matrix, blocks: Blocks, limits: Limits, rng: np.random.Generator
) -> dict[str, Outcome]:
    """C2ST and MMD of `features` (rows, dimensions); empty where there are too few units, or they are not matched."""
    has_window = blocks.window_blocks > 0
    has_reference = blocks.reference_blocks > 0
    if len(blocks.sizes) < LEAST_UNITS or min(has_window.sum(), has_reference.sum()) < LEAST_UNITS_OF_SIDE:
        return {}
    if not blocks.is_matched:
        raise ValueError("units of a reference that does not move have several blocks; thin them first")
    return {
        "c2st": _classifier_test(features, blocks, limits, rng),
        "mmd": _kernel_test(features, blocks, limits, rng),
    }


def hat_matrix(features: np.ndarray | sparse.csr_matrix, units: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """(rows, rows), and the rows of each fold: out-of-fold scores of a ridge classifier are this times the labels.

    What sklearn's KernelRidge with a linear kernel predicts, as a matrix: scores are linear in the labels of the other
    folds, so that a permutation costs a product instead of a fit. Folds hold whole units.
    """
    if sparse.issparse(features):
        kernel = (features @ features.T).toarray()
    else:
        scaled = StandardScaler().fit_transform(features)
        kernel = scaled @ scaled.T / scaled.shape[1]
    kernel = KernelCenterer().fit_transform(kernel)
    hat = np.zeros(kernel.shape, dtype=np.float32)
    folds = []
    for train, test in GroupKFold(FOLDS).split(kernel, groups=units):
        penalised = kernel[np.ix_(train, train)] + RIDGE * np.eye(len(train))
        part = cho_solve(cho_factor(penalised), kernel[np.ix_(train, test)]).T
        # Labels are taken from their mean over the training rows.
        hat[np.ix_(test, train)] = part - part.mean(axis=1, keepdims=True)
        folds.append(test)
    return hat, folds


def areas(hat: np.ndarray, folds: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """(n,): area under the ROC curve within folds, over all pairs of a fold, of each column of `labels` (rows, n)."""
    # Equal rows get equal scores, in the last digits too.
    scores = np.round(hat @ labels.astype(np.float32), 5)
    won, pairs = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for rows in folds:
        positive = labels[rows]
        ones = positive.sum(axis=0)
        ranks = rankdata(scores[rows], axis=0)
        won += (ranks * positive).sum(axis=0) - ones * (ones + 1) / 2
        pairs += ones * (len(rows) - ones)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)


def _classifier_test(
    features: np.ndarray | sparse.csr_matrix, blocks: Blocks, limits: Limits, rng: np.random.Generator
) -> Outcome:
    hat, folds = hat_matrix(features, blocks.unit_of_block[blocks.of_row])
    observed = areas(hat, folds, blocks.window_of_row.astype(float)[:, None])

    def draw(count: int) -> np.ndarray:
        labels = blocks.deal(count, rng).toarray()[:, blocks.of_row].T
        return areas(hat, folds, labels)[:, None]

    return permute(observed, draw, limits, max(1, min(500, BATCH_NUMBERS // len(hat))), is_costly=True)[0]


def median_gamma(features: np.ndarray | sparse.csr_matrix) -> float:
    """1 / (2 m^2), where m is the median distance of two different rows; 1 where that is 0."""
    distances = euclidean_distances(features)
    median = float(np.median(distances[np.triu_indices(len(distances), 1)]))
    return 1 / (2 * median**2) if median > 0 else 1.0


def _kernel_test(
    features: np.ndarray | sparse.csr_matrix, blocks: Blocks, limits: Limits, rng: np.random.Generator
) -> Outcome:
    rows = blocks.sums(np.arange(features.shape[0]), features.shape[0])
    kernel = rows @ (rows @ rbf_kernel(features, gamma=median_gamma(features))).T
    sizes = np.asarray(rows.sum(axis=1)).ravel()
    of_all = kernel.sum(axis=1)

    def discrepancy(window: np.ndarray) -> np.ndarray:
        """Squared distance of means in kernel space (the V-statistic), of window blocks (n, blocks)."""
        n_window = window @ sizes
        n_reference = sizes.sum() - n_window
        own = (window @ kernel * window).sum(axis=1)
        with_all = window @ of_all
        across, others = with_all - own, of_all.sum() - 2 * with_all + own
        return own / n_window**2 - 2 * across / (n_window * n_reference) + others / n_reference**2

    def draw(count: int) -> np.ndarray:
        return discrepancy(blocks.deal(count, rng).toarray())[:, None]

    observed = discrepancy(blocks.in_window.astype(float)[None, :])
    return permute(observed, draw, limits, max(1, min(1000, BATCH_NUMBERS // blocks.count)), is_costly=True)[0]
