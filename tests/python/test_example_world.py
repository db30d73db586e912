"""The example world: the seeds are the generator's output, they hold the truth that is written down, the marts find it.

`python tests/python/test_example_world.py` rewrites the tables of docs/example_world.md that are computed here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from scripts_runner import SCRIPTS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "example_world.md"
GUARDRAILS = 5
MARGIN = 0.02
NOT_ENDED = {"tone_of_voice", "small_model"}
TRACED = ("answer_model_v3", "source_links")
TABLES = (
    *("exposures", "outcomes", "experiments", "experiment_variations", "experiment_phases"),
    *("traces", "evaluation_scores", "ticket_predictions"),
)

# How input_quality counts each kind of planted row: input, rule, rows_dropped or rows_repaired.
QUALITY_RULES = {
    "exposures_null_unit": ("exposures", "missing_key", "rows_dropped"),
    "exposures_unknown_variation": ("exposures", "unknown_variation", "rows_dropped"),
    "exposures_shadow": ("exposures", "shadow", "rows_dropped"),
    "outcomes_repeated": ("outcomes", "duplicate", "rows_dropped"),
    "outcomes_null_unit": ("outcomes", "missing_key", "rows_dropped"),
    "outcomes_null_time": ("outcomes", "missing_key", "rows_dropped"),
    "outcomes_null_event": ("outcomes", "missing_key", "rows_dropped"),
    "outcomes_nan_value": ("outcomes", "unusable_value", "rows_repaired"),
    "traces_repeated": ("traces", "duplicate", "rows_dropped"),
    "traces_null_unit": ("traces", "missing_key", "rows_dropped"),
    "traces_null_time": ("traces", "missing_key", "rows_dropped"),
    "traces_null_id": ("traces", "missing_key", "rows_dropped"),
    "traces_end_before_start": ("traces", "end_before_start", "rows_repaired"),
    "traces_in_seconds": ("traces", "latency_in_seconds", "rows_repaired"),
    "traces_negative_latency": ("traces", "implausible_latency", "rows_repaired"),
    "traces_twelve_hours": ("traces", "implausible_end", "rows_repaired"),
    "traces_unknown_status": ("traces", "unknown_status", "rows_repaired"),
}


def load_generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("generate_world", SCRIPTS / "generate_world.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["generate_world"] = module
    specification.loader.exec_module(module)
    return module


world = load_generator()


def read_seeds() -> dict[str, pd.DataFrame]:
    """The seeds as frames; NaN is null here, as pandas can't tell the two apart."""
    frames = {}
    for name, types in seed_types().items():
        frame = pd.read_csv(ROOT / "seeds" / f"{name}.csv", dtype=str, keep_default_na=False).astype(object)
        frame = frame.where(~frame.isin(["", "NaN"]), None)
        for column, kind in types.items():
            if kind == "timestamp":
                frame[column] = pd.to_datetime(frame[column])
            elif kind == "boolean":
                frame[column] = frame[column] == "true"
            elif kind != "text":
                frame[column] = pd.to_numeric(frame[column])
        frames[name] = frame
    return frames


def seed_types() -> dict[str, dict[str, str]]:
    properties = yaml.safe_load((ROOT / "seeds" / "_seeds.yml").read_text())
    return {seed["name"]: seed["config"]["column_types"] for seed in properties["seeds"]}


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("world")
    return folder, generated_world(folder)


def generated_world(folder: Path) -> dict:
    """What the generator says about the world that it has made; `turns` is what is true of each turn."""
    truth: list[dict] = []
    made = world.generate(world.DEFAULT_USERS, world.DEFAULT_SEED, folder, progress=False, truth=truth)
    turns = pd.concat([pd.DataFrame(batch) for batch in truth], ignore_index=True)
    is_same = turns.session.shift(-1) == turns.session
    turns["next_kind"] = turns.kind.shift(-1).where(is_same, None)
    turns["next_text"] = turns.text.shift(-1).where(is_same, None)
    return {**made, "turns": turns}


# An analysis that shares nothing with the package.


def analysed_users(seeds: dict[str, pd.DataFrame], experiment_id: str) -> pd.DataFrame:
    """First served exposure of each user who was in one known arm only."""
    rows = seeds["exposures"]
    rows = rows[(rows.experiment_id == experiment_id) & (rows.exposure_kind != "shadow") & rows.unit_id.notna()]
    rows = rows.merge(seeds["experiment_variations"], on=["experiment_id", "variation_id"])
    arms = rows.groupby("unit_id").variation_id.nunique()
    rows = rows.sort_values("exposed_at").drop_duplicates("unit_id").set_index("unit_id")
    return rows[arms.reindex(rows.index) == 1]


def has_event(
    seeds: dict[str, pd.DataFrame], users: pd.DataFrame, event: str, before: pd.Timestamp = pd.Timestamp.max
) -> pd.Series:
    """Whether a user has the event from his first exposure to the end of the experiment."""
    ends = seeds["experiments"].set_index("experiment_id").ended_at[users.experiment_id.iloc[0]]
    rows = seeds["outcomes"]
    rows = rows[(rows.event_name == event) & (rows.occurred_at < before)]
    rows = rows.merge(users[["exposed_at"]], left_on="unit_id", right_index=True)
    rows = rows[rows.occurred_at >= rows.exposed_at]
    if pd.notna(ends):
        rows = rows[rows.occurred_at <= ends]
    return pd.Series(users.index.isin(rows.unit_id), users.index).astype(float)


def shares(outcome: pd.Series, users: pd.DataFrame, arm: str, strata: pd.Series | None = None) -> tuple:
    """Shares of control and arm, and the standard error of their difference; strata are weighted by
    n_a n_b / (n_a + n_b).
    """
    strata = pd.Series(0, users.index) if strata is None else strata
    weights, controls, treated, variances = [], [], [], []
    for stratum in strata.unique():
        a = outcome[(strata == stratum) & (users.variation_id == "control")]
        b = outcome[(strata == stratum) & (users.variation_id == arm)]
        weights.append(len(a) * len(b) / (len(a) + len(b)))
        controls.append(a.mean())
        treated.append(b.mean())
        variances.append(a.mean() * (1 - a.mean()) / len(a) + b.mean() * (1 - b.mean()) / len(b))
    weights = np.array(weights) / np.sum(weights)
    return weights @ controls, weights @ treated, np.sqrt(weights**2 @ variances)


def compare(outcome: pd.Series, users: pd.DataFrame, arm: str, strata: pd.Series | None = None) -> tuple:
    """Shares of control and arm, their difference and its p-value."""
    control, treatment, error = shares(outcome, users, arm, strata)
    return control, treatment, treatment - control, 2 * stats.norm.sf(abs(treatment - control) / error)


def compare_clustered(outcome: pd.Series, users: pd.DataFrame, arm: str) -> tuple:
    """The same with residuals summed by cluster (the usual small-sample factor, t with clusters - 1)."""
    a, b = users.variation_id == "control", users.variation_id == arm
    residual = (outcome - outcome[b].mean())[b] / b.sum()
    residual = pd.concat([residual, -(outcome - outcome[a].mean())[a] / a.sum()])
    sums = residual.groupby(users.cluster_id).sum()
    clusters, n = len(sums), len(users)
    error = np.sqrt(clusters / (clusters - 1) * (n - 1) / (n - 2) * np.sum(sums**2))
    effect = outcome[b].mean() - outcome[a].mean()
    return outcome[a].mean(), outcome[b].mean(), effect, 2 * stats.t.sf(abs(effect) / error, clusters - 1)


def compare_means(outcome: pd.Series, users: pd.DataFrame, arm: str) -> tuple:
    """Means of control and arm, their difference and the p-value of Welch's test."""
    a, b = outcome[users.variation_id == "control"], outcome[users.variation_id == arm]
    return a.mean(), b.mean(), b.mean() - a.mean(), stats.ttest_ind(b, a, equal_var=False).pvalue


def phase_of(seeds: dict[str, pd.DataFrame], users: pd.DataFrame) -> pd.Series:
    """The phase of the ramp in which a user was first exposed, from 1."""
    phases = seeds["experiment_phases"]
    starts = np.sort(phases[phases.experiment_id == users.experiment_id.iloc[0]].phase_started_at.unique())
    return pd.Series(np.maximum(np.searchsorted(starts, users.exposed_at.to_numpy(), side="right"), 1), users.index)


def stars_given(seeds: dict[str, pd.DataFrame], users: pd.DataFrame) -> pd.Series:
    """The ratings given from first exposure to the end of the experiment, by guests, who give one at most."""
    ends = seeds["experiments"].set_index("experiment_id").ended_at[users.experiment_id.iloc[0]]
    rows = seeds["outcomes"].query("event_name == 'rating' and value.notna()").set_index("unit_id")
    rows = rows.join(users[["exposed_at"]], how="inner")
    rows = rows[(rows.occurred_at >= rows.exposed_at) & (rows.occurred_at <= ends)]
    assert rows.index.is_unique
    return rows.value.astype(float)


def tasks_by_day(seeds: dict[str, pd.DataFrame], users: pd.DataFrame, days: int = 14) -> pd.DataFrame:
    """Tasks of each user on the days 1 to `days` after the day of first exposure: all had those days in full."""
    first_day = users.exposed_at.dt.normalize()
    last_day = seeds["outcomes"].occurred_at.max().normalize() - pd.Timedelta(days=1)
    cohort = users.index[first_day + pd.Timedelta(days=days) <= last_day]
    rows = seeds["outcomes"].query("event_name == 'task_complete' and occurred_at.notna() and unit_id in @cohort")
    age = (rows.occurred_at.dt.normalize() - rows.unit_id.map(first_day)).dt.days
    counts = pd.crosstab(rows.unit_id, age)
    return counts.reindex(index=cohort, columns=range(1, days + 1), fill_value=0)


def plain_analysis(seeds: dict[str, pd.DataFrame]) -> dict[tuple[str, str], tuple]:
    results = {}
    for experiment_id in world.TRUTH:
        users = analysed_users(seeds, experiment_id)
        done = has_event(seeds, users, "task_complete")
        escalated = has_event(seeds, users, "escalation")
        for arm in [name for name in users.variation_id.unique() if name != "control"]:
            if experiment_id == "workspace_memory":
                results[experiment_id, "treatment, by organisation"] = compare_clustered(done, users, arm)
                continue
            if experiment_id == "suggested_prompts":
                tasks = tasks_by_day(seeds, users)
                for first, last in ((1, 4), (11, 14)):
                    a_day = tasks.loc[:, first:last].mean(axis=1)
                    compared = f"{arm}, tasks a day, days {first}-{last}"
                    results[experiment_id, compared] = compare_means(a_day, users.loc[tasks.index], arm)
                continue
            results[experiment_id, arm] = compare(done, users, arm)
            if experiment_id == "concise_answers":
                for language in sorted(users.language.unique()):
                    speakers = users[users.language == language]
                    results[experiment_id, f"{arm}, {language}"] = compare(done[speakers.index], speakers, arm)
            if experiment_id in ("retrieval_rerank", "small_model"):
                phases = phase_of(seeds, users)
                results[experiment_id, f"{arm}, by phase"] = compare(done, users, arm, phases)
            if experiment_id == "small_model":
                for number in sorted(phases.unique()):
                    inside = users[phases == number]
                    results[experiment_id, f"{arm}, phase {number}"] = compare(done[inside.index], inside, arm)
                results[experiment_id, f"{arm}, escalation"] = compare(escalated, users, arm)
                results[experiment_id, f"{arm}, escalation, by phase"] = compare(escalated, users, arm, phases)
            if experiment_id == "tone_of_voice":
                results[experiment_id, f"{arm}, escalation"] = compare(escalated, users, arm)
            if experiment_id == "step_by_step":
                stars = stars_given(seeds, users)
                results[experiment_id, f"{arm}, stars per rating"] = compare_means(stars, users.loc[stars.index], arm)
    return results


def first_breach(seeds: dict[str, pd.DataFrame], experiment_id: str, arm: str) -> tuple[pd.Timestamp | None, float]:
    """The first complete day at whose end more escalations than the margin allows are proved, and the bound at
    the last one: a one-sided asymptotic confidence sequence, tuned to 5,000 users, with the phases apart, once each arm
    has 100 users. Guardrails, arms and slices (everybody and each language) share the error.
    """
    users = analysed_users(seeds, experiment_id)
    users = users[users.variation_id.isin(["control", arm])]
    alpha = 0.05 / (GUARDRAILS * len(treatments(experiment_id)) * (1 + users.language.nunique()))
    breach, bound = None, np.nan
    last = seeds["outcomes"].occurred_at.max().normalize()
    last = min(last, seeds["experiments"].set_index("experiment_id").ended_at.fillna(last)[experiment_id])
    for end in pd.date_range(users.exposed_at.min().normalize() + pd.Timedelta(days=1), last):
        seen = users[users.exposed_at < end]
        if seen.variation_id.value_counts().reindex(["control", arm]).fillna(0).min() < 100:
            continue
        escalated = has_event(seeds, seen, "escalation", before=end)
        control, treatment, error = shares(escalated, seen, arm, phase_of(seeds, seen))
        rho_2 = (-2 * np.log(2 * alpha) + np.log(1 - 2 * np.log(2 * alpha))) / 5000
        scale = len(seen) * rho_2 + 1
        boundary = np.sqrt(2 * scale / (scale - 1) * np.log(1 + np.sqrt(scale) / (2 * alpha)))
        bound = treatment - control - boundary * error
        if bound > MARGIN and breach is None:
            breach = end - pd.Timedelta(days=1)
    return breach, bound


def sample_ratio(seeds: dict[str, pd.DataFrame], experiment_id: str) -> tuple[pd.Series, float]:
    """Users by arm and the p-value of the chi-square test, summed over the phases of a ramp."""
    users = analysed_users(seeds, experiment_id)
    shares = seeds["experiment_variations"].query("experiment_id == @experiment_id")
    phases = seeds["experiment_phases"].query("experiment_id == @experiment_id")
    if phases.empty:
        phases = shares.assign(phase_started_at=pd.Timestamp.min)
    statistic = freedom = 0
    starts = sorted(phases.phase_started_at.unique())
    for start, end in zip(starts, [*starts[1:], pd.Timestamp.max], strict=True):
        weight = phases[phases.phase_started_at == start].set_index("variation_id").expected_weight
        inside = users[(users.exposed_at >= start) & (users.exposed_at < end)]
        counts = inside.variation_id.value_counts().reindex(weight.index)
        statistic += stats.chisquare(counts, weight * counts.sum()).statistic
        freedom += len(weight) - 1
    counts = users.variation_id.value_counts().reindex(shares.variation_id)
    return counts, stats.chi2.sf(statistic, freedom)


def analysis_table(seeds: dict[str, pd.DataFrame]) -> str:
    lines = ["| experiment | compared | control | treatment | effect | p-value |", "|---|---|---|---|---|---|"]
    for (experiment_id, compared), (control, treatment, effect, p) in plain_analysis(seeds).items():
        lines.append(f"| `{experiment_id}` | {compared} | {control:.3f} | {treatment:.3f} | {effect:+.3f} | {p:.2g} |")
    return "\n".join(lines)


def users_table(seeds: dict[str, pd.DataFrame]) -> str:
    lines = ["| experiment | users | p-value of the split |", "|---|---|---|"]
    for experiment_id in world.TRUTH:
        counts, p = sample_ratio(seeds, experiment_id)
        users = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        lines.append(f"| `{experiment_id}` | {users} | {p:.2g} |")
    return "\n".join(lines)


def breach_table(seeds: dict[str, pd.DataFrame]) -> str:
    lines = ["| experiment | compared | breached on | bound on the last day |", "|---|---|---|---|"]
    for experiment_id in world.TRUTH:
        for arm in treatments(experiment_id):
            breach, bound = first_breach(seeds, experiment_id, arm)
            lines.append(f"| `{experiment_id}` | {arm} | {breach.date() if breach else 'never'} | {bound:+.3f} |")
    return "\n".join(lines)


def served_traces(seeds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The turns that users saw, once each; latencies as they were before the dirt."""
    rows = seeds["traces"]
    rows = rows[rows.trace_id.notna() & rows.unit_id.notna() & rows.started_at.notna() & ~rows.is_shadow]
    rows = rows.sort_values("loaded_at").drop_duplicates("trace_id", keep="last").set_index("trace_id")
    took = rows.ended_at - rows.started_at
    by_clock = took.dt.total_seconds() * 1000
    in_seconds = (rows.latency_ms < by_clock / 100) & (by_clock >= 2000) & (rows.latency_ms > 0)
    latency = rows.latency_ms.abs().where(~in_seconds, rows.latency_ms * 1000)
    return rows.assign(latency_ms=latency.where(latency < 6 * 3_600_000))


def turns_by_arm(seeds: dict[str, pd.DataFrame], truth: pd.DataFrame, experiment_id: str) -> pd.DataFrame:
    """What happened in each arm's logged turns, by what was planted: nothing of it is told from the texts."""
    arms = analysed_users(seeds, experiment_id).variation_id
    turns = truth[~truth.is_lost].assign(arm=truth.unit_id.map(arms))
    turns = turns[turns.arm.notna() & turns.trace_id.isin(served_traces(seeds).index)]
    traces = served_traces(seeds).loc[turns.trace_id]
    return turns.assign(
        is_rephrased=turns.next_kind.isin(world.talk.REPHRASES),
        gave_up=turns.next_kind.isna() & turns.kind.isin([*world.talk.REPHRASES, "retry"]) & ~turns.is_good,
        latency_ms=traces.latency_ms.to_numpy(),
        cost_usd=traces.cost_usd.to_numpy(),
        status=traces.status.to_numpy(),
        language=traces.language.to_numpy(),
    )


def clustered_rates(turns: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Rate per turn in control and treatment, and the z-value of their difference with units as clusters."""
    rates, variance = [], 0.0
    for arm in ("control", "treatment"):
        sums = turns[turns.arm == arm].groupby("unit_id")[column].agg(["sum", "count"])
        rate = sums["sum"].sum() / sums["count"].sum()
        variance += ((sums["sum"] - rate * sums["count"]) ** 2).sum() / sums["count"].sum() ** 2
        rates.append(rate)
    return rates[0], rates[1], (rates[1] - rates[0]) / np.sqrt(variance)


def turns_table(seeds: dict[str, pd.DataFrame], truth: pd.DataFrame) -> str:
    lines = ["| experiment | of the turns | control | treatment |", "|---|---|---|---|"]
    for experiment_id in TRACED:
        turns = turns_by_arm(seeds, truth, experiment_id)
        arms = dict(list(turns.groupby("arm")))
        both = [arms["control"], arms["treatment"]]
        spanish = [arm[arm.language == world.talk.FRUSTRATED_LANGUAGE] for arm in both]
        rows = {
            "number": [f"{len(arm):,}" for arm in both],
            "users with a turn": [f"{arm.unit_id.nunique():,}" for arm in both],
            "said again in other words": [f"{arm.is_rephrased.mean():.3f}" for arm in both],
            "said again, Spanish": [f"{arm.is_rephrased.mean():.3f}" for arm in spanish],
            "left after a second bad answer": [f"{arm.gave_up.mean():.3f}" for arm in both],
            "left after a second bad answer, Spanish": [f"{arm.gave_up.mean():.3f}" for arm in spanish],
            "latency, 95th percentile, ms": [f"{arm.latency_ms.quantile(0.95):,.0f}" for arm in both],
            "US dollars a session": [f"{arm.cost_usd.sum() / arm.session.nunique():.4f}" for arm in both],
        }
        lines += [f"| `{experiment_id}` | {name} | {a} | {b} |" for name, (a, b) in rows.items()]
    return "\n".join(lines)


def tickets_with_days(seeds: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The tickets with the day they came in, counted from the first, and whether they were routed right (null while
    nobody has said so).
    """
    tickets = seeds["ticket_predictions"]
    day = (tickets.predicted_at.dt.normalize() - pd.Timestamp(world.router.START)).dt.days
    is_right = (tickets.correct_queue == tickets.predicted_queue).astype(float).where(tickets.correct_queue.notna())
    return tickets.assign(day=day, is_right=is_right)


def moved(before: pd.Series, after: pd.Series) -> float:
    """The p-value of a test of whether two samples are of one distribution; missing is a category."""
    if pd.api.types.is_numeric_dtype(before):
        return stats.ks_2samp(before, after).pvalue
    values = pd.concat([before, after]).fillna("(missing)")
    if values.nunique() == 1:
        return 1.0
    counts = pd.crosstab(values.to_numpy(), np.arange(len(values)) < len(before))
    return stats.chi2_contingency(counts, correction=False).pvalue


def drift_stretches(seeds: dict[str, pd.DataFrame]) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """The 28 days before each planted thing, and its own days: one of bad logging, a week of what lasts."""
    tickets = tickets_with_days(seeds)
    bad_day = world.router.BAD_LOGGING_DAY
    stretches = {}
    for name, truth in world.router.TRUTH.items():
        start, days = truth["day"], 1 if truth["day"] == bad_day else 7
        before = tickets[(tickets.day >= start - 28) & (tickets.day < start) & (tickets.day != bad_day)]
        stretches[name] = before, tickets[(tickets.day >= start) & (tickets.day < start + days)]
    return stretches


def tickets_table(seeds: dict[str, pd.DataFrame]) -> str:
    lines = ["| planted | of the tickets | before | then | p-value |", "|---|---|---|---|---|"]
    market = world.router.MARKET_LANGUAGE
    for name, (before, after) in drift_stretches(seeds).items():
        both = before, after
        rows = {
            "a day": [f"{len(rows) / rows.day.nunique():.0f}" for rows in both] + [""],
            "without a language": [f"{rows.language.isna().mean():.3f}" for rows in both],
            "in Portuguese": [f"{(rows.language.dropna() == market).mean():.3f}" for rows in both],
            "characters": [f"{rows.ticket_chars.median():.0f}" for rows in both],
            "by `E-Mail`": [f"{(rows.channel == world.router.RESPELT_CHANNEL[1]).mean():.3f}" for rows in both],
            "about returns": [f"{(rows.product_area == 'returns').mean():.3f}" for rows in both],
            "sent to returns": [f"{(rows.predicted_queue == 'returns').mean():.3f}" for rows in both],
            "mean confidence": [f"{rows.confidence.mean():.3f}" for rows in both],
            "routed right": [f"{rows.is_right.mean():.3f}" for rows in both],
        }
        tests = {
            "without a language": moved(before.language.isna().astype(str), after.language.isna().astype(str)),
            "in Portuguese": moved(before.language.dropna(), after.language.dropna()),
            "characters": moved(before.ticket_chars, after.ticket_chars),
            "by `E-Mail`": moved(before.channel, after.channel),
            "about returns": moved(before.product_area, after.product_area),
            "sent to returns": moved(before.predicted_queue, after.predicted_queue),
            "mean confidence": moved(before.confidence, after.confidence),
            "routed right": stats.ttest_ind(before.is_right.dropna(), after.is_right.dropna(), equal_var=False).pvalue,
        }
        for measure, cells in rows.items():
            p = "" if measure not in tests else f"{tests[measure]:.2g}" if tests[measure] > 1e-99 else "< 1e-99"
            lines.append(f"| {name} | {measure} | {cells[0]} | {cells[1]} | {p} |")
    return "\n".join(lines)


def treatments(experiment_id: str) -> list[str]:
    arms = next(experiment.arms for experiment in world.EXPERIMENTS if experiment.experiment_id == experiment_id)
    return list(arms)[1:]


def current_document(generated: dict) -> str:
    seeds = read_seeds()
    document = world.write_docs(DOCUMENT.read_text(encoding="utf-8"), generated)
    document = world.replace_table(document, "plain analysis", analysis_table(seeds))
    document = world.replace_table(document, "guardrail", breach_table(seeds))
    document = world.replace_table(document, "turns", turns_table(seeds, generated["turns"]))
    document = world.replace_table(document, "tickets", tickets_table(seeds))
    return world.replace_table(document, "users", users_table(seeds))


def test_seeds_are_what_the_generator_makes(regenerated: tuple[Path, dict]) -> None:
    folder, _ = regenerated
    for name in TABLES:
        committed = (ROOT / "seeds" / f"{name}.csv").read_bytes()
        assert committed == (folder / f"{name}.csv").read_bytes(), f"seeds/{name}.csv is not the generator's output"


def test_document_says_what_was_planted(regenerated: tuple[Path, dict]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == current_document(regenerated[1])


def test_seeds_stay_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "seeds").glob("*"))
    assert size < 8_000_000


def test_every_seed_column_has_a_type_and_a_description() -> None:
    properties = yaml.safe_load((ROOT / "seeds" / "_seeds.yml").read_text())
    seeds = {seed["name"]: seed for seed in properties["seeds"]}
    assert sorted(seeds) == sorted(TABLES)
    for name, seed in seeds.items():
        header = (ROOT / "seeds" / f"{name}.csv").open().readline().strip().split(",")
        assert list(seed["config"]["column_types"]) == header
        assert [column["name"] for column in seed["columns"] if column["description"]] == header


def test_planted_dirt_is_in_the_seeds() -> None:
    seeds = read_seeds()
    exposures, outcomes = seeds["exposures"], seeds["outcomes"]
    known = set(zip(*(seeds["experiment_variations"][key] for key in ("experiment_id", "variation_id")), strict=True))
    pairs = pd.Series(list(zip(exposures.experiment_id, exposures.variation_id, strict=True)), exposures.index)
    served = exposures[(exposures.exposure_kind != "shadow") & exposures.unit_id.notna() & pairs.isin(known)]
    arms = served.groupby(["experiment_id", "unit_id"]).variation_id.nunique()
    raw_values = pd.read_csv(ROOT / "seeds" / "outcomes.csv", dtype=str, keep_default_na=False).value
    found = {
        "exposures_repeated": exposures.duplicated().sum(),
        "exposures_second_arm": (arms > 1).sum(),
        "exposures_null_unit": exposures.unit_id.isna().sum(),
        "exposures_unknown_variation": (~pairs.isin(known)).sum(),
        "exposures_shadow": (exposures.exposure_kind == "shadow").sum(),
        "outcomes_repeated": outcomes.outcome_id.duplicated().sum(),
        "outcomes_null_unit": outcomes.drop_duplicates("outcome_id").unit_id.isna().sum(),
        "outcomes_null_time": outcomes.drop_duplicates("outcome_id").occurred_at.isna().sum(),
        "outcomes_null_event": outcomes.drop_duplicates("outcome_id").event_name.isna().sum(),
        "outcomes_nan_value": (raw_values == "NaN").sum(),
        **trace_dirt(seeds["traces"]),
    }
    assert found == {key: count for key, (count, _, _) in world.DIRT.items()}
    assert list(arms[arms > 1].index.get_level_values(0).unique()) == [world.UNSTABLE_BUCKETS_IN]
    assert set(seeds["experiments"].experiment_id[seeds["experiments"].ended_at.isna()]) == NOT_ENDED
    first = served.groupby("unit_id").exposed_at.min()
    assert (outcomes.occurred_at < outcomes.unit_id.map(first)).mean() > 0.18


def trace_dirt(traces: pd.DataFrame) -> dict[str, int]:
    once = traces[~traces.trace_id.duplicated() | traces.trace_id.isna()]
    took = (once.ended_at - once.started_at).dt.total_seconds()
    return {
        "traces_repeated": (traces.trace_id.duplicated() & traces.trace_id.notna()).sum(),
        "traces_null_unit": once.unit_id.isna().sum(),
        "traces_null_time": once.started_at.isna().sum(),
        "traces_null_id": once.trace_id.isna().sum(),
        "traces_end_before_start": once.trace_id[took < 0].nunique(),
        "traces_in_seconds": once.trace_id[(once.latency_ms > 0) & (1000 * took > 100 * once.latency_ms)].nunique(),
        "traces_negative_latency": once.trace_id[once.latency_ms < 0].nunique(),
        "traces_twelve_hours": once.trace_id[took > 6 * 3600].nunique(),
        "traces_unknown_status": once.trace_id[once.status == "partial"].nunique(),
    }


def test_truth_shows_in_a_plain_analysis() -> None:
    """With margin: the family of a Holm adjustment has fewer than 20 members here."""
    seeds = read_seeds()
    results = plain_analysis(seeds)

    def effect_and_p(experiment_id: str, compared: str) -> tuple[float, float]:
        return results[experiment_id, compared][2:]

    for experiment_id, compared, sign, limit in [
        ("answer_model_v2", "treatment", 1, 1e-3),
        ("concise_answers", "treatment", 1, 1e-2),
        ("concise_answers", "treatment, ja", -1, 1e-2),
        ("tone_of_voice", "brief", -1, 1e-3),
        ("tone_of_voice", "brief, escalation", 1, 1e-3),
        ("retrieval_rerank", "treatment, by phase", 1, 1e-3),
        ("step_by_step", "treatment", 1, 1e-3),
        ("step_by_step", "treatment, stars per rating", -1, 1e-2),
        ("small_model", "treatment, by phase", -1, 1e-3),
        ("small_model", "treatment, escalation, by phase", 1, 1e-3),
        ("suggested_prompts", "treatment, tasks a day, days 1-4", 1, 1e-3),
    ]:
        effect, p = effect_and_p(experiment_id, compared)
        assert effect * sign > 0 and 20 * p < limit, (experiment_id, compared, effect, p)
    for experiment_id, compared in [
        ("sidebar_redesign", "treatment"),
        ("tone_of_voice", "detailed"),
        ("workspace_memory", "treatment, by organisation"),
        ("suggested_prompts", "treatment, tasks a day, days 11-14"),
        ("answer_model_v3", "treatment"),
        ("source_links", "treatment"),
    ]:
        assert effect_and_p(experiment_id, compared)[1] > 0.2, (experiment_id, compared)
    assert effect_and_p("voice_input", "treatment")[1] < 0.05, "the broken experiment should look like a win"
    pooled, by_phase = (results["retrieval_rerank", key][2] for key in ("treatment", "treatment, by phase"))
    assert pooled < 0.6 * by_phase
    for experiment_id, truth in world.TRUTH.items():
        p = sample_ratio(seeds, experiment_id)[1]
        assert p < 1e-6 if truth["srm"] == "fail" else p > 0.05, (experiment_id, p)


def test_pooling_the_phases_of_the_canary_turns_its_harm_into_a_win() -> None:
    results = plain_analysis(read_seeds())
    phases = [results["small_model", f"treatment, phase {number}"] for number in (1, 2, 3)]
    controls, _, effects, _ = zip(*phases, strict=True)
    assert list(controls) == sorted(controls), "the share of guests left without their task should fall"
    assert max(effects) < -0.05
    assert results["small_model", "treatment"][2] > 0.05
    assert results["small_model", "treatment"][3] < 0.01


def test_only_planted_harm_breaches_the_guardrail_and_early() -> None:
    seeds = read_seeds()
    breaches = {
        (experiment_id, arm): first_breach(seeds, experiment_id, arm)
        for experiment_id in world.TRUTH
        for arm in treatments(experiment_id)
    }
    found = {key for key, (day, _) in breaches.items() if day is not None}
    assert found == {("small_model", "treatment"), ("tone_of_voice", "brief")}
    newest = seeds["outcomes"].occurred_at.max()
    assert all(newest - breaches[key][0] > pd.Timedelta(days=5) for key in found)
    # Both still run, so that something is due; and each is clear, not a near thing.
    assert {key[0] for key in found} <= NOT_ENDED
    assert all(breaches[key][1] > 3 * MARGIN for key in found)


def test_the_novelty_wears_off_for_the_same_people() -> None:
    seeds = read_seeds()
    users = analysed_users(seeds, "suggested_prompts")
    tasks = tasks_by_day(seeds, users)
    assert users.loc[tasks.index].variation_id.value_counts().min() >= 100
    age = np.arange(1, 15) - 7.5
    slopes = pd.Series(tasks.to_numpy() @ age / (age @ age), tasks.index)
    _, _, trend, p = compare_means(slopes, users.loc[tasks.index], "treatment")
    assert trend < 0 and p < 1e-6
    results = plain_analysis(seeds)
    early, late = (results["suggested_prompts", f"treatment, tasks a day, days {days}"] for days in ("1-4", "11-14"))
    assert late[2] < 0.2 * early[2]


def test_the_last_day_is_complete_and_experiments_are_still_running() -> None:
    seeds = read_seeds()
    last_day = pd.Timestamp(world.WORLD_START) + pd.Timedelta(days=world.WORLD_DAYS)
    for name, column in (("exposures", "exposed_at"), ("outcomes", "occurred_at"), ("traces", "started_at")):
        assert last_day < seeds[name][column].max() < last_day + pd.Timedelta(hours=2)
    registry = seeds["experiments"].set_index("experiment_id")
    running = registry.index[registry.ended_at.isna() | (registry.ended_at > last_day)]
    assert set(running) == NOT_ENDED | {"suggested_prompts", *TRACED}
    assert list(registry.index[registry.stage == "canary"]) == ["small_model"]
    users = len(analysed_users(seeds, "answer_model_v2"))
    assert registry.planned_looks["answer_model_v2"] == 5
    assert 1 <= users / registry.planned_units["answer_model_v2"] < 1.05


def days_that_moved(tickets: pd.DataFrame, measures: dict[str, str], level: float) -> dict[str, list[int]]:
    """The days on which a column is not as in the 28 days before, by plain tests of one day at a time."""
    found = {measure: [] for measure in measures}
    for day in range(28, world.router.DAYS):
        before, after = tickets[(tickets.day >= day - 28) & (tickets.day < day)], tickets[tickets.day == day]
        for measure, column in measures.items():
            one, other = before[column].dropna(), after[column].dropna()
            if measure == "is missing":
                one, other = before[column].isna().astype(str), after[column].isna().astype(str)
            elif column == "is_right":
                one, other = one.map(str), other.map(str)
            if len(other) > 30 and moved(one, other) < level:
                found[measure].append(day)
    return found


def test_planted_drift_shows_in_a_plain_analysis() -> None:
    """One day at a time with the error of a quarter shared by days and columns: what was planted, and nothing else."""
    tickets, router = tickets_with_days(read_seeds()), world.router
    columns = ["ticket_chars", "language", "channel", "product_area", "predicted_queue", "confidence"]
    measures = {name: name for name in columns} | {
        "correct_queue": "correct_queue",
        "accuracy": "is_right",
        "is missing": "language",
    }
    found = days_that_moved(tickets, measures, 0.05 / 91 / len(measures))
    assert found["is missing"] == [router.BAD_LOGGING_DAY]
    assert found["channel"] == [router.BAD_LOGGING_DAY]
    market, policy = router.NEW_MARKET_DAY, router.NEW_POLICY_DAY
    assert found["language"][:10] == list(range(market, market + 10)) and found["language"][-1] < policy
    assert found["ticket_chars"][0] == market and len(found["ticket_chars"]) >= 8
    assert found["ticket_chars"][-1] < market + 14
    assert found["accuracy"][:3] == found["correct_queue"][:3] == [policy, policy + 1, policy + 2]
    assert found["product_area"] == found["predicted_queue"] == found["confidence"] == []


def test_the_new_market_costs_no_accuracy_and_the_new_policy_does() -> None:
    tickets, router = tickets_with_days(read_seeds()), world.router
    quiet = tickets[tickets.day < router.NEW_MARKET_DAY]
    market = tickets[(tickets.day >= router.NEW_MARKET_DAY) & (tickets.day < router.NEW_POLICY_DAY)]
    policy = tickets[tickets.day >= router.NEW_POLICY_DAY]
    assert abs(market.is_right.mean() - quiet.is_right.mean()) < 0.01
    # The same tickets, by what they are about: only those about returns are routed worse.
    by_area = policy.groupby("product_area").is_right.mean() - market.groupby("product_area").is_right.mean()
    assert by_area["returns"] < -0.5 and by_area.drop("returns").abs().max() < 0.03
    mix = (policy.product_area.value_counts(normalize=True) - market.product_area.value_counts(normalize=True)).mul(
        market.groupby("product_area").is_right.mean()
    )
    assert abs(mix.sum()) < 0.01 and policy.is_right.mean() - market.is_right.mean() < -0.15
    assert abs(policy.confidence.mean() - market.confidence.mean()) < 0.01


def test_labels_of_tickets_come_late_and_some_never() -> None:
    seeds = read_seeds()
    tickets, end = seeds["ticket_predictions"], seeds["outcomes"].occurred_at.max()
    assert tickets.ticket_id.is_unique and tickets.groupby("customer_id").size().median() >= 3
    assert (tickets.labelled_at.isna() == tickets.correct_queue.isna()).all()
    hours = (tickets.labelled_at - tickets.predicted_at).dt.total_seconds() / 3600
    assert hours.min() >= 24 and hours.max() < 72 and abs(hours.median() - 30) < 1
    # The newest tickets are of the hours in which the example ends, so nothing of another table is later or earlier.
    newest = max(tickets.predicted_at.max(), tickets.labelled_at.max())
    assert end.normalize() <= newest < end.normalize() + pd.Timedelta(hours=2)
    old = tickets[tickets.predicted_at < newest - pd.Timedelta(days=3)]
    assert 0.04 < old.correct_queue.isna().mean() < 0.08
    by_day = tickets[tickets.predicted_at < newest.normalize()].groupby(tickets.predicted_at.dt.date).size()
    assert len(by_day) == world.router.DAYS and by_day.min() > 100 and by_day.max() < 200


def test_parquet_holds_the_same_rows(tmp_path: Path, regenerated: tuple[Path, dict]) -> None:
    world.generate(world.DEFAULT_USERS, world.DEFAULT_SEED, tmp_path, "parquet", progress=False)
    for name, types in seed_types().items():
        columns = ", ".join(f"'{column}': '{kind}'" for column, kind in types.items())
        from_csv = f"read_csv('{regenerated[0]}/{name}.csv', columns = {{{columns}}})"
        from_parquet = f"'{tmp_path}/{name}.parquet'"
        for one, other in ((from_csv, from_parquet), (from_parquet, from_csv)):
            missing = duckdb.sql(f"select count(*) from (from {one} except all from {other})").fetchone()[0]
            assert missing == 0, name


def test_a_world_of_several_batches_holds_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "BATCH_USERS", 600)
    made = world.generate(1500, 5, tmp_path, "parquet", progress=False)
    exposures, outcomes = f"'{tmp_path}/exposures.parquet'", f"'{tmp_path}/outcomes.parquet'"

    def count(query: str) -> int:
        return duckdb.sql(query).fetchone()[0]

    assert count(f"select count(*) from {exposures}") == made["rows"]["exposures"]
    repeated = count(f"select count(*) - count(distinct outcome_id) from {outcomes}")
    assert repeated == made["planted"]["outcomes_repeated"] > 0
    named = "where session_id is not null"
    users = f"select session_id, count(distinct unit_id) as users from {outcomes} {named} group by session_id"
    assert count(f"select max(users) from ({users})") == 1
    clusters = f"select unit_id, count(distinct cluster_id) as clusters from {exposures} group by unit_id"
    assert count(f"select max(clusters) from ({clusters} having unit_id is not null)") == 1
    arms = f"select cluster_id, count(distinct variation_id) as arms from {exposures} where cluster_id is not null"
    assert count(f"select max(arms) from ({arms} group by cluster_id)") == 1

    traces = f"'{tmp_path}/traces.parquet'"
    repeated = count(f"select count(trace_id) - count(distinct trace_id) from {traces}")
    assert repeated == made["planted"]["traces_repeated"] > 0
    users = f"select session_id, count(distinct unit_id) as users from {traces} {named} group by session_id"
    assert count(f"select max(users) from ({users})") == 1
    # An event that names a trace names one of the same user.
    own = f"select distinct trace_id, unit_id from {traces} where not is_shadow and unit_id is not null"
    strangers = f"select count(*) from {outcomes} o join ({own}) t using (trace_id) where o.unit_id <> t.unit_id"
    assert count(strangers) == 0
    assert count(f"select count(*) from {outcomes} where trace_id is not null") > 500


@pytest.fixture(scope="module")
def built(engine: str, warehouse_factory):
    """The example world with its marts. The seeds are copied: on Postgres `dbt seed` takes half a minute for them."""
    warehouse = warehouse_factory(engine)
    types = seed_types()
    for name, frame in read_seeds().items():
        warehouse.load(name, frame, types=types[name])
    raw_values = pd.read_csv(ROOT / "seeds" / "outcomes.csv", dtype=str, keep_default_na=False)
    broken = ", ".join(f"'{key}'" for key in raw_values.outcome_id[raw_values.value == "NaN"])
    warehouse.execute(f"update raw.outcomes set value = cast('NaN' as double precision) where outcome_id in ({broken})")
    warehouse.dbt("run")
    yield warehouse
    warehouse.close()


def test_marts_find_the_truth(built) -> None:
    results = built.mart("experiment_results").set_index(GRAINS["experiment_results"])
    for experiment_id, truth in world.TRUTH.items():
        for key, verdict in truth["verdicts"].items():
            row = results.loc[(experiment_id, *key)]
            assert row.verdict == verdict, (experiment_id, key, row.verdict, row.p_value_adjusted)
    for key, limit in [
        (("answer_model_v2", "task_completion", "treatment", "all", "all"), 1e-3),
        (("concise_answers", "task_completion", "treatment", "all", "all"), 1e-2),
        (("concise_answers", "task_completion", "treatment", "language", "ja"), 1e-2),
        (("step_by_step", "task_completion", "treatment", "all", "all"), 1e-3),
        (("step_by_step", "average_rating", "treatment", "all", "all"), 1e-2),
        (("small_model", "task_completion", "treatment", "all", "all"), 1e-2),
        (("suggested_prompts", "tasks_per_user", "treatment", "all", "all"), 1e-3),
    ]:
        assert results.loc[key].p_value_adjusted < limit, key
    assert results.loc[("sidebar_redesign", "task_completion", "treatment", "all", "all")].p_value_adjusted > 0.2
    for experiment_id, adjustment in [
        ("workspace_memory", "clustered"),
        ("retrieval_rerank", "stratified"),
        ("small_model", "stratified"),
    ]:
        row = results.loc[(experiment_id, "task_completion", "treatment", "all", "all")]
        assert row.adjustment == adjustment, experiment_id


def test_marts_agree_with_the_plain_analysis(built) -> None:
    results = built.mart("experiment_results").set_index(GRAINS["experiment_results"])
    expected = plain_analysis(read_seeds())
    for experiment_id, compared, key in [
        ("answer_model_v2", "treatment", ("task_completion", "treatment", "all", "all")),
        ("sidebar_redesign", "treatment", ("task_completion", "treatment", "all", "all")),
        ("concise_answers", "treatment", ("task_completion", "treatment", "all", "all")),
        ("concise_answers", "treatment, ja", ("task_completion", "treatment", "language", "ja")),
        ("tone_of_voice", "brief", ("task_completion", "brief", "all", "all")),
        ("retrieval_rerank", "treatment, by phase", ("task_completion", "treatment", "all", "all")),
        ("workspace_memory", "treatment, by organisation", ("task_completion", "treatment", "all", "all")),
        ("step_by_step", "treatment", ("task_completion", "treatment", "all", "all")),
        ("step_by_step", "treatment, stars per rating", ("average_rating", "treatment", "all", "all")),
        ("small_model", "treatment, by phase", ("task_completion", "treatment", "all", "all")),
        ("small_model", "treatment, escalation, by phase", ("escalation_rate", "treatment", "all", "all")),
    ]:
        row = results.loc[(experiment_id, *key)]
        found = (row.value_control, row.value_treatment, row.effect_absolute)
        np.testing.assert_allclose(found, expected[experiment_id, compared][:3], rtol=1e-9, err_msg=experiment_id)


def test_only_the_broken_experiment_fails_its_sample_ratio(built) -> None:
    health = built.mart("experiment_health")
    overall = health[health.check_name.str.startswith("srm") & (health["scope"] == "all")]
    failed = overall[overall.status == "fail"]
    joined = overall.set_index(["check_name", "experiment_id"]).loc["srm_trace_join"]
    assert joined.status["answer_model_v3"] == "pass" and joined.status["source_links"] == "fail"
    assert joined.p_value["source_links"] < 1e-6
    assert set(joined.status.drop(list(TRACED))) == {"insufficient"}, "the others have no traces"
    overall, failed = (rows[rows.check_name != "srm_trace_join"] for rows in (overall, failed))
    assert set(overall.experiment_id) == set(world.TRUTH)
    assert set(failed.experiment_id) == {name for name, truth in world.TRUTH.items() if truth["srm"] == "fail"}
    assert failed.p_value.min() < 1e-6


def test_input_quality_counts_the_planted_dirt(built) -> None:
    quality = built.mart("input_quality").set_index(["input_name", "rule"])
    expected: dict[tuple[str, str, str], int] = {}
    for key, counted in QUALITY_RULES.items():
        expected[counted] = expected.get(counted, 0) + world.DIRT[key][0]
    # The other two kinds lie among rows of the same people: exact repeats are repeats like any other.
    exposures = read_seeds()["exposures"]
    usable = exposures[(exposures.exposure_kind != "shadow") & exposures.unit_id.notna()]
    usable = usable[usable.variation_id != "treatment_v1"]
    units = usable.groupby(["experiment_id", "unit_id"]).variation_id
    in_one = usable[units.transform("nunique") == 1]
    repeated = len(in_one) - in_one.groupby(["experiment_id", "unit_id"]).ngroups
    expected["exposures", "repeat_exposure", "rows_repaired"] = repeated
    expected["exposures", "several_variations", "rows_dropped"] = len(usable) - len(in_one)
    # What took twelve hours took an implausible time too; nobody saw the answers of the candidate.
    expected["traces", "implausible_latency", "rows_repaired"] += world.DIRT["traces_twelve_hours"][0]
    expected["traces", "shadow", "rows_dropped"] = int(read_seeds()["traces"].is_shadow.sum())
    found = {(table, rule, column): quality.loc[(table, rule), column] for table, rule, column in expected}
    assert found == expected


def test_the_newer_model_looks_better_and_is_not(regenerated: tuple[Path, dict]) -> None:
    """By what was planted, without a look at the texts."""
    seeds, truth = read_seeds(), regenerated[1]["turns"]
    turns = turns_by_arm(seeds, truth, "answer_model_v3")
    arms = turns.groupby("arm")
    slow = arms.latency_ms.quantile(0.95)
    cost = arms.cost_usd.sum() / arms.session.nunique()
    assert slow["treatment"] < 0.75 * slow["control"] and cost["treatment"] < 0.6 * cost["control"]
    control, treatment, z = clustered_rates(turns, "is_rephrased")
    assert 0.06 < treatment - control < 0.11 and z > 7
    spanish = turns.language == world.talk.FRUSTRATED_LANGUAGE
    control, treatment, z = clustered_rates(turns[spanish], "gave_up")
    assert treatment - control > 0.05 and z > 5
    control, treatment, z = clustered_rates(turns[~spanish], "gave_up")
    assert abs(treatment - control) < 0.015
    assert turns.unit_id.nunique() == len(analysed_users(seeds, "answer_model_v3"))


def test_traces_go_missing_in_one_arm_only(regenerated: tuple[Path, dict]) -> None:
    seeds = read_seeds()
    users = analysed_users(seeds, "source_links")
    has_trace = users.index.isin(served_traces(seeds).unit_id)
    table = pd.crosstab(users.variation_id, has_trace)
    assert table.loc["control", False] == 0
    assert 0.1 < table.loc["treatment", False] / table.loc["treatment"].sum() < 0.2
    assert stats.chi2_contingency(table).pvalue < 1e-6
    turns = turns_by_arm(seeds, regenerated[1]["turns"], "source_links")
    assert abs(clustered_rates(turns, "is_rephrased")[2]) < 2


def test_one_day_of_the_traces_is_bad_and_the_last_minutes_are_busy() -> None:
    seeds = read_seeds()
    traces = served_traces(seeds)
    days = traces.groupby(traces.started_at.dt.normalize())
    failed = days.status.agg(lambda status: status.isin(["error", "timeout"]).mean())
    incident = pd.Timestamp(world.WORLD_START) + pd.Timedelta(days=world.talk.INCIDENT_DAY)
    assert failed.idxmax() == incident and failed[incident] > 0.1 and failed.drop(incident).max() < 0.04
    median = days.latency_ms.median()
    assert median[incident] > 1.7 * median.drop(incident).max()
    newest = traces.started_at.max()
    assert (traces.started_at > newest - pd.Timedelta(minutes=30)).sum() >= 30
    assert traces.session_id.isna().mean() == pytest.approx(world.talk.WITHOUT_SESSION_SHARE, abs=0.02)
    refused = traces.status.eq("refusal").groupby(traces.query_category).mean()
    assert refused.idxmax() == "health" and refused["health"] > 5 * refused.drop("health").max()


def test_people_call_good_answers_helpful(regenerated: tuple[Path, dict]) -> None:
    scores = read_seeds()["evaluation_scores"]
    is_good = regenerated[1]["turns"].set_index("trace_id").is_good
    human = scores[scores.evaluator_kind == "human"]
    assert len(human) == world.talk.LABELLED and set(human.score) == {0, 1} and human.trace_id.is_unique
    agreement = (human.score == human.trace_id.map(is_good).astype(float)).mean()
    assert 0.88 < agreement < 0.97
    assert len(scores) - len(human) == world.talk.JUDGED


def true_pairs(built, truth: pd.DataFrame) -> pd.DataFrame:
    """The mart's turns beside what was planted. Turns of users without stored text are left out."""
    turns = built.mart("turns").set_index("trace_id")
    truth = truth[~truth.is_lost].set_index("trace_id")
    assert set(turns.index) == set(truth.index)
    return turns.join(truth[["kind", "next_kind", "next_text", "text", "gap", "is_good", "session"]])


def test_turns_see_what_was_planted(built, regenerated: tuple[Path, dict]) -> None:
    turns = true_pairs(built, regenerated[1]["turns"])
    sessions = turns.groupby("session_id").session
    assert (sessions.nunique() == 1).all() and turns.session.nunique() == sessions.ngroups, "sessions are put together"
    mature = turns[turns.is_mature & turns.input_text.notna()]
    assert 30 < (~turns.is_mature).sum() < 300
    assert turns[~turns.is_mature].is_rephrased.isna().all()

    is_retry = (mature.next_text == mature.text) & (mature.gap <= 300) & ~mature.is_regenerated.fillna(False)
    np.testing.assert_array_equal(mature.is_exact_retry.astype(bool), is_retry)
    found = mature.is_rephrased.astype(bool).groupby(mature.next_kind).mean()
    for kind, least in {"rephrase": 0.8, "narrowed": 0.9, "typo_fixed": 0.9, "shortened": 0.7}.items():
        assert found[kind] >= least, (kind, found[kind])
    for kind, most in {"follow_up": 0.22, "new_topic": 0.03, "acknowledgement": 0.02, "correction": 0.05}.items():
        assert found[kind] <= most, (kind, found[kind])
    followed = mature.is_followed_up.astype(bool).groupby(mature.next_kind).mean()
    assert followed["acknowledgement"] == 0 and followed["follow_up"] > 0.6
    silent = turns[turns.is_abandoned.fillna(False)]
    assert silent.next_kind.isna().all() and set(silent.abandon_kind) == {"after_negative", "unknown"}


SLICE = ["experiment_id", "metric_name", "variation_id", "dimension_name", "dimension_value"]
DRIFT_SERIES = ["monitor_name", "feature_name", "segment_name", "segment_value"]
GRAINS = {
    "experiment_results": SLICE,
    "experiment_results_daily": [*SLICE, "as_of_date"],
    "experiment_subgroups": SLICE,
    "experiment_tradeoffs": ["scope", "experiment_id", "variation_id", "goal_metric_name", "other_metric_name"],
    "guardrail_checks": ["experiment_id", "variation_id", "metric_name", "slice_name", "slice_value"],
    "due_actions": ["experiment_id", "variation_id", "metric_name", "slice_name", "slice_value"],
    "experiment_health": ["experiment_id", "check_name", "scope"],
    "input_quality": ["input_name", "rule"],
    "dim_metrics": ["metric_name"],
    "turns": ["trace_id"],
    "sessions": ["session_id"],
    "implicit_signals_daily": ["signal_date", "model_version", "dimension_name", "dimension_value", "signal_name"],
    "trace_quality_daily": ["trace_date", "model_version", "dimension_name", "dimension_value"],
    "failure_modes": ["failure_date", "model_version", "failure_mode", "dimension_name", "dimension_value"],
    "failure_cases": ["trace_id"],
    "signal_validity": ["label_name", "signal_name", "dimension_name", "dimension_value"],
    "dim_experiments": ["experiment_id"],
    "drift_summary": [*DRIFT_SERIES, "window_start"],
    "drift_bins": [*DRIFT_SERIES, "window_start", "bin_number"],
    "drift_decomposition": ["monitor_name", "measure_name", "segment_name", "segment_value", "window_start", "slice"],
}
MARTS_OF_ENGINE: dict[str, dict[str, pd.DataFrame]] = {}


def test_marts_over_time_find_the_truth(built) -> None:
    """The canary, the breaches, what wears off, what was paid for and who was harmed: each is a row that says so."""
    checks = built.mart("guardrail_checks")
    breaches = checks[checks.state == "breach"]
    assert set(zip(breaches.experiment_id, breaches.variation_id, strict=True)) == {
        ("small_model", "treatment"),
        ("tone_of_voice", "brief"),
        ("answer_model_v3", "treatment"),
    }
    assert (breaches.bound > breaches.margin).all()
    newer = breaches[breaches.experiment_id == "answer_model_v3"].set_index(["metric_name", "slice_value"]).action
    assert newer["rephrase_rate", "all"] == "rollback"
    assert newer["abandonment_rate", world.talk.FRUSTRATED_LANGUAGE] == "pause"
    assert set(newer.index.get_level_values("metric_name")) == {"rephrase_rate", "abandonment_rate"}
    assert set(breaches[breaches.experiment_id != "answer_model_v3"].metric_name) == {"escalation_rate"}
    due = built.mart("due_actions")
    assert set(due.experiment_id) == {"small_model", "tone_of_voice", "answer_model_v3"}

    health = built.mart("experiment_health").set_index(["experiment_id", "check_name", "scope"]).status
    assert health["small_model", "ramp_reversal", "task_completion"] == "fail"
    assert health["voice_input", "srm_sequential", "all"] == "fail"
    novelty = health[health.index.get_level_values("check_name") == "novelty"]
    worn_off = novelty[novelty == "warn"]
    assert set(worn_off.index.get_level_values("experiment_id")) == {"suggested_prompts"}

    pairs = built.mart("experiment_tradeoffs")
    pairs = pairs[pairs.verdict == "trade_off"]
    assert {"step_by_step"} == set(pairs.experiment_id) and {"average_rating"} == set(pairs.other_metric_name)
    slices = built.mart("experiment_subgroups")
    slices = slices[(slices.finding == "harmed_while_average_gains") & slices.is_protected]
    assert set(zip(slices.experiment_id, slices.dimension_value, strict=True)) == {("concise_answers", "ja")}

    daily = built.mart("experiment_results_daily").set_index(SLICE)
    canary = daily.loc[[("small_model", "task_completion", "treatment", "all", "all")]]
    assert "better" not in set(canary.verdict) and canary.sort_values("as_of_date").verdict.iloc[-1] == "worse"


def everyone_in(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame.dimension_name == "all") & (frame.dimension_value == "all")]


def test_daily_signals_show_the_newer_model_and_the_edge(built, regenerated: tuple[Path, dict]) -> None:
    days = everyone_in(built.mart("implicit_signals_daily"))
    rephrase = days[(days.signal_name == "rephrase") & (days.turns_mature > 0)]
    rates = (rephrase.rate * rephrase.turns_mature).groupby(rephrase.model_version).sum()
    rates = rates / rephrase.groupby("model_version").turns_mature.sum()
    assert rates["assistant-3"] - rates["assistant-2"] > 0.05
    turns = built.mart("turns")
    # An exact retry may be explained by an outcome, so it waits for them.
    for signal, flag, ripe in (
        ("rephrase", "is_rephrased", turns.is_mature),
        ("exact_retry", "is_exact_retry", turns.is_outcome_mature),
    ):
        rows = days[days.signal_name == signal]
        known = turns[ripe & turns[flag].notna()]
        assert rows.turns_mature.sum() == len(known)
        assert rows.turns_immature.sum() == (~ripe).sum() > 0
        assert rows.turns_with_signal.sum() == known[flag].astype(bool).sum()
    last = days.signal_date.max()
    assert not days[days.signal_date == last].is_complete.any()
    # Few answers get a thumb, and more of the bad ones do.
    feedback = days[(days.signal_name == "feedback_response") & (days.turns_mature > 0)]
    assert (feedback.rate * feedback.turns_mature).sum() / feedback.turns_mature.sum() < 0.1


def test_the_bad_day_stands_out(built) -> None:
    incident = (pd.Timestamp(world.WORLD_START) + pd.Timedelta(days=world.talk.INCIDENT_DAY)).date()
    quality = everyone_in(built.mart("trace_quality_daily"))
    failed = (quality.error_rate + quality.timeout_rate) * quality.traces
    by_day = failed.groupby(quality.trace_date).sum() / quality.groupby("trace_date").traces.sum()
    assert pd.Timestamp(by_day.idxmax()).date() == incident and by_day.max() > 0.1
    assert by_day.max() > 3 * by_day.drop(by_day.idxmax()).max()

    modes = everyone_in(built.mart("failure_modes"))
    rising = modes[modes.failure_mode.isin(["error", "timeout"]) & (modes.trend == "rising")]
    assert {pd.Timestamp(day).date() for day in rising.failure_date} == {incident}
    cases = built.mart("failure_cases").set_index("trace_id")
    turns = built.mart("turns").set_index("trace_id")
    broken = turns.index[turns.status.isin(["error", "timeout", "refusal"])]
    assert set(broken) <= set(cases.index)
    assert (cases.primary_mode[broken] == turns.status[broken]).all()


def test_behaviour_tells_what_people_say(built) -> None:
    """What users do next follows from whether the answer is good, and so do the labels."""
    validity = everyone_in(built.mart("signal_validity"))
    helpful = validity[(validity.label_name == "helpful") & (validity.status == "ok")].set_index("signal_name")
    assert helpful.auc_ci_upper["rephrase"] < 0.5, "said again: not helpful"
    assert helpful.auc_ci_lower["copy"] > 0.5
    # How long an answer took was drawn without regard to how good it is; only the newer model is faster and worse.
    assert abs(helpful.auc["latency_ms"] - 0.5) < 0.1


def drift_of(built, monitor: str) -> pd.DataFrame:
    """What drift_summary says of a monitor, with the number of the day since the tickets begin."""
    rows = built.mart("drift_summary")
    assert set(rows.segment_name) == {"all"}
    rows = rows[rows.monitor_name == monitor]
    day = (pd.to_datetime(rows.window_start) - pd.Timestamp(world.router.START)).dt.days
    since = (pd.to_datetime(rows.change_point_at) - pd.Timestamp(world.router.START)).dt.days
    rows = rows.assign(day=day, since=since, is_raised=rows.status.isin(["warn", "alert"]))
    return rows.sort_values(["feature_name", "day"])


def test_each_drift_is_named_rightly(built) -> None:
    routing, router = drift_of(built, "routing"), world.router
    assert sorted(routing.day.unique()) == list(range(28, router.DAYS)), "28 days of reference first"
    raised = routing[routing.is_raised]
    named = raised.groupby("feature_name").drift_kind.agg(set).to_dict()
    assert named == {
        "language": {"logging", "covariate"},
        "channel": {"logging"},
        "ticket_chars": {"covariate"},
        "accuracy": {"concept"},
        "correct_queue": {"label"},
    }, "product_area, predicted_queue and confidence stay put"
    bad_day, market, policy = router.BAD_LOGGING_DAY, router.NEW_MARKET_DAY, router.NEW_POLICY_DAY
    assert raised.day.min() == bad_day

    logging = raised[raised.day < market]
    reasons = dict(zip(logging.feature_name, logging.status_reason, strict=True))
    assert reasons == {"language": "missing_rate", "channel": "renamed_category"}
    assert set(logging.day) == {bad_day} and set(logging.drift_kind) == {"logging"} and set(logging.status) == {"alert"}
    assert not logging.is_sustained.any() and logging.change_point_at.isna().all()

    covariate = raised[(raised.day >= market) & (raised.day < policy)]
    assert set(covariate.drift_kind) == {"covariate"} and set(covariate.quality) == {"unchanged"}
    assert set(covariate.since.dropna()) == {market}
    for name in ("language", "ticket_chars"):
        days = covariate[covariate.feature_name == name].set_index("day").is_sustained
        assert not days[market] and days[market + 1], name
        assert set(range(market, market + 7)) - set(days.index) <= {market + 3}, name

    concept = raised[raised.day >= policy]
    assert set(concept.feature_name) == {"accuracy", "correct_queue"}, "no input and no prediction"
    assert set(concept.since.dropna()) == {policy}
    for name in ("accuracy", "correct_queue"):
        days = concept[concept.feature_name == name].set_index("day").is_sustained
        assert not days[policy] and days[policy + 1], name
        # At 130 labels a day some days of a real shift are quiet, and the next one stands alone.
        assert days.loc[policy + 1 :].mean() > 0.8, name
    accuracy = concept[concept.feature_name == "accuracy"]
    assert set(accuracy.quality) == {"worse"} and set(accuracy.status_reason) == {"within_slices"} and len(accuracy) > 6


def test_the_newest_tickets_wait_for_their_labels(built) -> None:
    accuracy = drift_of(built, "routing").query("feature_name == 'accuracy'").set_index("day")
    last = world.router.DAYS - 1
    assert (accuracy.status[[last, last - 1]] == "insufficient").all()
    assert set(accuracy.status_reason[accuracy.status == "insufficient"]) == {"labels_not_in"}
    assert (accuracy.status.loc[: last - 3] != "insufficient").all()
    newest = drift_of(built, "routing").query("day == @last and feature_name != 'accuracy'")
    assert set(newest.quality) == {"unknown"}


def test_the_change_of_accuracy_is_split_rightly(built) -> None:
    """The parts by hand, from all labels; the mart leaves out those that are slower than nine in ten."""
    tickets, router = tickets_with_days(read_seeds()), world.router
    parts = built.mart("drift_decomposition")
    parts = parts[(parts.monitor_name == "routing") & (parts.slice == "all")]
    parts = parts.set_index((pd.to_datetime(parts.window_start) - pd.Timestamp(router.START)).dt.days)
    total = parts.mix + parts.within_slices + parts.uncovered
    np.testing.assert_allclose(parts.change, total, rtol=0, atol=1e-12)
    labelled = tickets[tickets.is_right.notna()].fillna({"language": "?"})
    for day in (router.NEW_MARKET_DAY, router.NEW_POLICY_DAY):
        cells = []
        for first, last in ((day - 28, day), (day, day + 1)):
            rows = labelled[(labelled.day >= first) & (labelled.day < last)]
            cell = rows.groupby(["product_area", "language"]).is_right.agg(["size", "mean"])
            cells.append(cell.assign(share=cell["size"] / len(rows)))
        before, after = (cell.reindex(cells[0].index.union(cells[1].index)) for cell in cells)
        both = before["mean"].notna() & after["mean"].notna()
        within = (after.share * (after["mean"] - before["mean"]))[both].sum()
        change = (after.share * after["mean"]).sum() - (before.share * before["mean"]).sum()
        row = parts.loc[day]
        assert abs(row.change - change) < 0.02 and abs(row.within_slices - within) < 0.02, day
        assert abs(row.mix) < 0.02 and row.uncovered == 0, day
    market, policy = parts.loc[router.NEW_MARKET_DAY], parts.loc[router.NEW_POLICY_DAY]
    assert market.within_slices_ci_lower < 0 < market.within_slices_ci_upper and market.within_slices_ci_lower > -0.1
    assert policy.within_slices_ci_upper < -0.1 and policy.mix_ci_lower < 0 < policy.mix_ci_upper


def test_of_the_answers_only_the_bad_day_is_raised(built) -> None:
    answers = drift_of(built, "answers")
    incident = pd.Timestamp(world.WORLD_START) + pd.Timedelta(days=world.talk.INCIDENT_DAY)
    raised = answers[answers.is_raised]
    assert set(pd.to_datetime(raised.window_start)) == {incident} and not raised.is_sustained.any()
    assert {"latency_ms", "status"} <= set(raised.feature_name) <= {"latency_ms", "status", "output_chars"}
    assert set(raised.drift_kind) == {"prediction"} and set(raised.quality) == {"unchanged"}


def test_the_demo_tells_what_drifts(built) -> None:
    import demo

    runs = demo.drift_runs(built.mart("drift_summary")).set_index(["monitor", "feature", "kind"])
    day = {
        name: pd.Timestamp(world.router.START) + pd.Timedelta(days=t["day"]) for name, t in world.router.TRUTH.items()
    }
    assert list(runs.index[runs.goes_on]) == [("routing", "accuracy", "concept"), ("routing", "correct_queue", "label")]
    concept = runs.loc[("routing", "accuracy", "concept")]
    assert concept.since == day["a concept shift"] and concept.quality == "worse" and concept.is_sustained
    covariate = runs.loc[("routing", "language", "covariate")]
    assert covariate.since == day["a covariate shift"] and covariate.quality == "unchanged" and not covariate.goes_on
    spike = runs.loc[("routing", "language", "logging")]
    assert spike.since == spike.until == day["a day of bad logging"] and not spike.is_sustained


def answer_table(answer: pd.DataFrame) -> str:
    """The answer of an analysis as the README prints it."""

    def cell(value: object) -> str:
        if pd.isna(value):
            return ""
        if isinstance(value, float):
            return f"{value:g}"
        return str(value.date() if hasattr(value, "date") else value)

    lines = ["| " + " | ".join(answer.columns) + " |", "|" + "---|" * len(answer.columns)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in answer.itertuples(index=False)]
    return "\n".join(lines)


def test_readme_answers_the_questions(built) -> None:
    """Every analysis is there with its answer. A wrong one is shown as it should be."""
    built.dbt("compile", select="resource_type:analysis")
    compiled = {path.stem: path for path in built.target_path.glob("compiled/**/analyses/*.sql")}
    assert sorted(compiled) == sorted(path.stem for path in (ROOT / "analyses").glob("*.sql"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, path in compiled.items():
        assert f"analyses/{name}.sql" in readme, name
        table = answer_table(built.sql(path.read_text(encoding="utf-8")))
        assert table in readme, f"{name}:\n{table}"


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True, scope="module")
def test_no_join_compares_every_row_with_every_row(built) -> None:
    """A condition on the left side of a left join turns a join by keys into a comparison of all pairs on DuckDB."""
    slow = set()
    compiled = built.target_path / "compiled" / "evalhouse" / "models"
    for path in compiled.rglob("*.sql"):
        if path.stem.startswith("stg_"):
            continue
        plan = built.connection.execute(f"explain {path.read_text(encoding='utf-8')}").fetchall()[0][1]
        if "BLOCKWISE_NL_JOIN" in plan:
            slow.add(path.stem)
    # Pairs of metrics are unrolled by a short table of numbers.
    assert slow <= {"int_influence_products"}


def test_engines_give_the_same_marts(built, engine: str) -> None:
    """Row by row: texts, counts and nulls exactly, floats to 1e-9. The second engine is held against the first."""
    marts = {name: built.mart(name).set_index(grain).sort_index() for name, grain in GRAINS.items()}
    assert all(len(frame) for frame in marts.values())
    for other in MARTS_OF_ENGINE.values():
        for name, frame in marts.items():
            close = {"check_exact": False, "rtol": 1e-9, "atol": 1e-12}
            pd.testing.assert_frame_equal(frame, other[name], check_dtype=False, check_like=True, obj=name, **close)
    MARTS_OF_ENGINE[engine] = marts


def main() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        generated = generated_world(Path(folder))
    DOCUMENT.write_text(current_document(generated), encoding="utf-8")


if __name__ == "__main__":
    main()
