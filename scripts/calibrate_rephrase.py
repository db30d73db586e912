"""Fits the weights of the rephrase score to labelled pairs of texts, and says how good they are.

    python scripts/calibrate_rephrase.py --pairs pairs.csv
    python scripts/calibrate_rephrase.py --pairs pairs.csv --baselines --write analytics.rephrase_weights
    python scripts/calibrate_rephrase.py --relation analytics.labelled_pairs --target-precision 0.9

The pairs have the columns previous_text, next_text and is_rephrase (true or 1), and may have group_id (pairs of one
user or conversation: they stay together in cross-validation) and embedding_cosine. A file is CSV or Parquet.

The features come from the package's own SQL on the target of the dbt profile; the fit is scikit-learn's logistic
regression. Every figure in the table is out of fold. `--write` replaces a table of name and value; name it in the
configuration as `signals.rephrase_weights` and the next run scores with it. Needs scikit-learn. Run it from the folder
of the dbt project.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _warehouse import ROWS_PER_INSERT, Warehouse, WarehouseError, add_arguments, open_warehouse

PLACE = "pairs_to_compare"
QUERY = """
with given as (select * from pairs_to_compare),
texts as (
    select pair_id, 1 as side, previous_text as text from given
    union all
    select pair_id, 2 as side, next_text as text from given
),
{{ evalhouse.rephrase_words('texts', ['pair_id', 'side']) }},
pairs as (
    select a.pair_id, a.words, a.content, b.words as next_words, b.content as next_content
    from text_words as a inner join text_words as b on a.pair_id = b.pair_id and b.side = 2
    where a.side = 1
),
{{ evalhouse.rephrase_features('pairs', ['pair_id']) }}
select pair_id, {{ evalhouse.rephrase_feature_names() | join(', ') }} from pair_features
"""
FEWEST = 50
# What makes a rephrase less likely; everything else makes it more so.
AGAINST = ("content_disjoint", "substitution", "question_changed", "number_changed")
RELATION = re.compile(r"\w+(\.\w+){0,2}")


def read(arguments: argparse.Namespace, warehouse: Warehouse) -> pd.DataFrame:
    """The labelled pairs, checked."""
    if arguments.relation:
        frame = warehouse.frame(f"select * from {arguments.relation}")
    else:
        path = arguments.pairs
        if not path.exists():
            raise WarehouseError(f"there is no file {path}")
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False)
    missing = [name for name in ("previous_text", "next_text", "is_rephrase") if name not in frame]
    if missing:
        raise WarehouseError(f"the pairs lack {', '.join(missing)}; they have {', '.join(frame.columns)}")
    truth = {"true": 1, "t": 1, "1": 1, "1.0": 1, "false": 0, "f": 0, "0": 0, "0.0": 0}
    label = frame["is_rephrase"].map(lambda value: truth.get(str(value).strip().lower()))
    if label.isna().any():
        raise WarehouseError(f"is_rephrase is neither true nor false in {int(label.isna().sum())} rows")
    frame = frame.assign(is_rephrase=label.astype(int))
    if "group_id" not in frame:
        frame["group_id"] = range(len(frame))
    counts = frame["is_rephrase"].value_counts()
    if len(counts) < 2 or counts.min() < FEWEST:
        raise WarehouseError(f"a fit needs {FEWEST} pairs of each kind; there are {counts.to_dict()}")
    return frame.reset_index(drop=True)


def features(frame: pd.DataFrame, arguments: argparse.Namespace, warehouse: Warehouse, query: str) -> pd.DataFrame:
    parts = []
    for start in range(0, len(frame), ROWS_PER_INSERT):
        rows = frame.iloc[start : start + ROWS_PER_INSERT]
        values = " union all ".join(
            f"select {number} as pair_id, {_text(row.previous_text)} as previous_text, "
            f"{_text(row.next_text)} as next_text"
            for number, row in zip(rows.index, rows.itertuples(), strict=True)
        )
        parts.append(warehouse.frame(query.replace(f"from {PLACE}", f"from ({values}) as labelled")))
    found = pd.concat(parts).set_index("pair_id").sort_index().astype(float)
    if "embedding_cosine" in frame:
        cosine = pd.to_numeric(frame["embedding_cosine"], errors="coerce")
        # Absent is neutral: the average.
        found["embedding_cosine"] = cosine.fillna(cosine.mean())
    return found


def _text(value: Any) -> str:
    # A backslash separates words, as a space does, and is read differently by engines.
    return "'" + str(value).replace("\\", " ").replace("\0", " ").replace("'", "''") + "'"


def compiled(arguments: argparse.Namespace) -> str:
    """The query in the dialect of the target."""
    from dbt.cli.main import dbtRunner

    words = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-send-anonymous-usage-stats"]
    words += ["--no-write-json", "compile", "--inline", QUERY]
    for name in ("project_dir", "profiles_dir", "profile", "target", "vars"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    outcome = dbtRunner().invoke(words)
    if not outcome.success:
        raise WarehouseError(f"dbt cannot compile the score: {outcome.exception}")
    return outcome.result.results[0].node.compiled_code


def fit(values: np.ndarray, label: np.ndarray, names: Sequence[str], penalty: float) -> np.ndarray:
    """Intercept and weights. A feature whose sign is against its meaning is left out, and the rest fitted again."""
    from sklearn.linear_model import LogisticRegression

    signs = np.array([-1.0 if name in AGAINST else 1.0 for name in names])
    kept = list(range(len(names)))
    while True:
        model = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8).fit(values[:, kept], label)
        wrong = [place for place, weight in zip(kept, model.coef_[0], strict=True) if weight * signs[place] < 0]
        if not wrong:
            break
        worst = max(wrong, key=lambda place: abs(model.coef_[0][kept.index(place)]))
        kept.remove(worst)
    weights = np.zeros(len(names) + 1)
    weights[0] = model.intercept_[0]
    for place, weight in zip(kept, model.coef_[0], strict=True):
        weights[place + 1] = weight
    return weights


def probabilities(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(weights[0] + values @ weights[1:])


def out_of_fold(
    values: np.ndarray, label: np.ndarray, group: np.ndarray, names: Sequence[str], penalty: float
) -> np.ndarray:
    from sklearn.model_selection import GroupKFold

    score = np.zeros(len(label))
    for train, test in GroupKFold(n_splits=min(5, len(np.unique(group)))).split(values, label, group):
        score[test] = probabilities(values[test], fit(values[train], label[train], names, penalty))
    return score


def table(score: np.ndarray, label: np.ndarray, thresholds: Sequence[float]) -> pd.DataFrame:
    rows = []
    for threshold in thresholds:
        flagged = score >= threshold
        hits = int((flagged & (label == 1)).sum())
        precision = hits / flagged.sum() if flagged.any() else np.nan
        rows.append(
            (threshold, precision, hits / label.sum(), 2 * hits / (flagged.sum() + label.sum()), flagged.mean())
        )
    return pd.DataFrame(rows, columns=["threshold", "precision", "recall", "f1", "flagged"])


def choose(score: np.ndarray, label: np.ndarray, target_precision: float | None) -> float:
    full = table(score, label, np.round(np.arange(0.02, 0.99, 0.01), 2))
    if target_precision is None:
        return float(full.loc[full["f1"].idxmax(), "threshold"])
    enough = full[full["precision"] >= target_precision]
    if enough.empty:
        raise WarehouseError(
            f"no threshold reaches precision {target_precision}; the best is {full['precision'].max():.3f}"
        )
    return float(enough.loc[enough["recall"].idxmax(), "threshold"])


def baselines(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pairs = [(str(a).lower(), str(b).lower()) for a, b in zip(frame["previous_text"], frame["next_text"], strict=True)]
    found = {"token Jaccard": [], "Levenshtein": []}
    for first, second in pairs:
        one, other = set(re.findall(r"\w+", first)), set(re.findall(r"\w+", second))
        found["token Jaccard"].append(len(one & other) / max(1, len(one | other)))
        found["Levenshtein"].append(1 - _distance(first, second) / max(1, len(first), len(second)))
    matrix = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4)).fit_transform(
        [text for pair in pairs for text in pair]
    )
    cosine = np.asarray(matrix[0::2].multiply(matrix[1::2]).sum(axis=1)).ravel()
    return {**{name: np.array(score) for name, score in found.items()}, "TF-IDF cosine": cosine}


def _distance(first: str, second: str) -> int:
    codes = np.array([ord(letter) for letter in second])
    steps = np.arange(len(second) + 1)
    row = steps.copy()
    for letter in first:
        changed = np.concatenate([[row[0] + 1], np.minimum(row[1:] + 1, row[:-1] + (codes != ord(letter)))])
        row = np.minimum.accumulate(changed - steps) + steps
    return int(row[-1])


def write(warehouse: Warehouse, relation: str, weights: dict[str, float]) -> None:
    rows = " union all ".join(
        f"select cast('{name}' as varchar(100)) as name, cast({value:.16e} as double precision) as value"
        for name, value in weights.items()
    )
    warehouse.replace_table(relation, rows)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pairs", type=Path, help="file of labelled pairs, CSV or Parquet")
    source.add_argument("--relation", help="relation of labelled pairs in the warehouse")
    parser.add_argument("--target-precision", type=float, help="lowest precision; default: the best F1")
    parser.add_argument("--penalty", type=float, default=1.0, help="strength of the ridge penalty (default 1)")
    parser.add_argument("--baselines", action="store_true", help="print three simpler scores beside it")
    parser.add_argument("--write", metavar="RELATION", help="table to write the weights to, as schema.table")
    add_arguments(parser)
    arguments = parser.parse_args(words)
    try:
        for name in (arguments.relation, arguments.write):
            if name and not RELATION.fullmatch(name):
                raise WarehouseError(f"{name} is no name of a relation")
        query = compiled(arguments)
        with open_warehouse(arguments, read_only=not arguments.write) as warehouse:
            frame = read(arguments, warehouse)
            found = features(frame, arguments, warehouse, query)
            # Where a text has no word there is no score.
            usable = found.notna().all(axis=1).to_numpy()
            if not usable.all():
                print(f"{int((~usable).sum())} pairs without words are left out")
            frame, found = frame[usable], found[usable]
            values, label, names = found.to_numpy(), frame["is_rephrase"].to_numpy(), list(found.columns)
            score = out_of_fold(values, label, frame["group_id"].astype(str).to_numpy(), names, arguments.penalty)
            threshold = choose(score, label, arguments.target_precision)
            shown = table(score, label, sorted({*np.round(np.arange(0.1, 1, 0.1), 1), threshold}))
            print(shown.to_string(index=False, float_format="{:.3f}".format))
            if arguments.baselines:
                for name, simple in baselines(frame).items():
                    best = table(simple, label, np.round(np.arange(0.01, 1, 0.01), 2))
                    best = best.loc[best["f1"].idxmax()]
                    print(
                        f"{name}: threshold {best['threshold']:.2f} precision {best['precision']:.3f} "
                        f"recall {best['recall']:.3f} F1 {best['f1']:.3f} (threshold chosen on the same pairs)"
                    )
            fitted = fit(values, label, names, arguments.penalty)
            weights = dict(zip(["intercept", *names], map(float, fitted), strict=True))
            if "embedding_cosine" in names:
                # Where there is no cosine the term is 0: the intercept takes what the average pair has.
                centre = float(found["embedding_cosine"].mean())
                weights["embedding_centre"] = centre
                weights["intercept"] += weights["embedding_cosine"] * centre
            weights["threshold"] = threshold
            print("\n".join(f"{name:22} {value: .4f}" for name, value in weights.items()))
            if arguments.write:
                write(warehouse, arguments.write, weights)
                print(f"written to {arguments.write}; name it as signals.rephrase_weights")
    except WarehouseError as error:
        print(f"calibrate_rephrase: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
