"""Print what the marts say, experiment by experiment. Reads the warehouse that `dbt build` wrote."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
from _warehouse import WarehouseError, add_arguments, open_warehouse
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MARTS = ("experiment_results", "experiment_health", "guardrail_checks", "experiment_tradeoffs", "input_quality")
SIGNAL_MARTS = ("implicit_signals_daily", "trace_quality_daily", "failure_modes", "signal_validity")
DRIFT_MARTS = ("drift_summary", "drift_decomposition")
DRIFT_PAUSE = 3
MAX_DRIFTS = 12
SIGNAL_DAYS = 7
SIGNALS = {
    "rephrase": "said again",
    "exact_retry": "sent again",
    "abandonment_after_negative": "gave up",
    "copy": "copied",
    "thumbs_up": "thumbs up",
    "thumbs_down": "thumbs down",
}
MAX_MODES = 6
MAX_LABELLED = 4
WIDTH = 110
MAX_CHECKS = 5
MAX_SLICES = 8
STATUS_STYLE = {"fail": "bold red", "warn": "yellow", "insufficient": "dim", "pass": "green"}
VERDICT_STYLE = {"better": "bold green", "worse": "bold red", "inconclusive": "", "not_computed": "dim"}
SEVERITY = {"fail": 0, "warn": 1, "insufficient": 2, "pass": 3}
NEXT = [
    ("experiment_results", "did it work? one row per experiment, metric, arm and slice"),
    ("experiment_health", "may I trust it? sample ratio and the other checks, with their thresholds"),
    ("experiment_results_daily", "how did the evidence grow? valid at every look"),
    ("guardrail_checks", "which guardrails hold, which are breached, and since when"),
    ("experiment_subgroups", "who is harmed while the average gains?"),
    ("experiment_tradeoffs", "what got worse while the goal got better?"),
    ("implicit_signals_daily", "what users do after an answer: said again, copied, gave up, by day and model"),
    ("trace_quality_daily", "latency, cost, errors, refusals, by day and model"),
    ("failure_modes, failure_cases", "what breaks, how often, and each failing turn"),
    ("signal_validity", "which of these signals tells what people say of an answer?"),
    ("drift_summary", "what moved, since when, of which kind, and did quality suffer?"),
    ("drift_decomposition", "how much of a change of quality is other inputs, and how much other answers to the same"),
    ("input_quality", "what was wrong with the raw rows, and what was done about it"),
    ("dim_metrics, dim_experiments", "the catalogue of both"),
    ("docs/example_world.md", "what was planted in this data, so what the rows above should say"),
    ("docs/evidence_over_time.md", "how to read what grows day by day"),
    ("docs/configuration.md", "the metrics, dimensions and guardrails of your own product"),
]


def number(value: float) -> str:
    if pd.isna(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.3f}"


def p_value(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.1e}" if value < 1e-4 else f"{value:.4f}"


def percent(value: float) -> str:
    return "?" if pd.isna(value) else f"{value:+.0%}" if abs(value) >= 1 else f"{value:+.1%}"


def effect(row: pd.Series) -> str:
    """The relative effect with its interval; the absolute one where the relative one was refused."""
    if pd.notna(row.effect_relative):
        interval = f"{percent(row.ci_lower_relative)} to {percent(row.ci_upper_relative)}"
        return f"{percent(row.effect_relative)} ({interval})"
    if pd.notna(row.effect_absolute):
        low, high = number(row.ci_lower_absolute), number(row.ci_upper_absolute)
        return f"{row.effect_absolute:+.3f} absolute ({low} to {high})"
    return str(row.status_reason or "-")


def new_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def print_health(console: Console, checks: pd.DataFrame) -> None:
    """Whether the experiment may be trusted: the failures and warnings, or how many checks passed."""
    checks = checks.assign(severity=checks.status.map(SEVERITY).fillna(3), is_part=checks["scope"] != "all")
    checks = checks.sort_values(["severity", "is_part", "check_name", "scope"])
    alarms = checks[checks.status.isin(["fail", "warn"])]
    for row in alarms.head(MAX_CHECKS).itertuples():
        line = Text(f"{row.status} ", style=STATUS_STYLE[row.status])
        line.append(f"{row.check_name} [{row.scope}]", style="bold")
        if pd.notna(row.p_value):
            line.append(f"  p {p_value(row.p_value)}")
        elif pd.notna(row.statistic) and pd.notna(row.threshold):
            line.append(f"  {number(row.statistic)} (threshold {number(row.threshold)})")
        line.append(f"  {row.detail}" if isinstance(row.detail, str) else "")
        console.print(line)
    if len(alarms) > MAX_CHECKS:
        console.print(f"and {len(alarms) - MAX_CHECKS} more warnings or failures", style="dim")
    if alarms.empty:
        passed, waiting = (checks.status == "pass").sum(), (checks.status == "insufficient").sum()
        more = f", {waiting} lack data" if waiting else ""
        line = f"healthy: {passed} checks passed{more}" if passed else f"no check has passed or failed{more}"
        console.print(line, style="green" if passed else "dim")
    if (checks[~checks.is_part].status == "fail").any():
        console.print("Do not trust the results below: a check of the whole experiment failed.", style="bold red")


def print_results(console: Console, rows: pd.DataFrame) -> None:
    """The goals, and whatever else got worse."""
    everyone = rows[(rows.dimension_name == "all") & (rows.dimension_value == "all")]
    shown = everyone[(everyone.metric_role == "goal") | (everyone.verdict == "worse")]
    roles = {"goal": 0, "guardrail": 1, "secondary": 2}
    shown = shown.assign(rank=shown.metric_role.map(roles)).sort_values(["rank", "metric_name", "variation_id"])
    columns = ("metric", "arm", "users", "control", "treated", "relative effect", "adj. p", "verdict")
    table = new_table(*columns, right=("users", "control", "treated", "adj. p"))
    for row in shown.itertuples():
        name = escape(row.metric_name) + ("" if row.metric_role == "goal" else f" [dim]({row.metric_role})[/]")
        users = sum(int(count) for count in (row.units_control, row.units_treatment) if pd.notna(count))
        table.add_row(
            *(name, escape(row.variation_id), f"{users:,}", number(row.value_control), number(row.value_treatment)),
            *(escape(effect(row)), p_value(row.p_value_adjusted)),
            Text(row.verdict, style=VERDICT_STYLE.get(row.verdict, "")),
        )
    if shown.empty:
        console.print("no goal metric was computed", style="dim")
    else:
        console.print(table)

    print_harmed_slices(console, rows, everyone)


def print_harmed_slices(console: Console, rows: pd.DataFrame, everyone: pd.DataFrame) -> None:
    """Goals and guardrails that got worse in a slice; first those of an arm that is not worse for everyone."""
    harmed = rows[(rows.dimension_name != "all") & (rows.verdict == "worse") & (rows.metric_role != "secondary")]
    if harmed.empty:
        return
    worse = everyone[everyone.verdict == "worse"]
    plain = set(zip(worse.metric_name, worse.variation_id, strict=True))
    keys = zip(harmed.metric_name, harmed.variation_id, strict=True)
    harmed = harmed.assign(is_plain=[key in plain for key in keys]).sort_values(["is_plain", "p_value_adjusted"])
    hidden = harmed[~harmed.is_plain]
    if len(hidden):
        console.print("Slices that are harmed while the whole is not:", style="bold red")
        table = new_table("slice", "metric", "arm", "relative effect", "adj. p", right=("adj. p",))
        for row in hidden.head(MAX_SLICES).itertuples():
            where = f"{row.dimension_name} = {row.dimension_value}"
            cells = [where, row.metric_name, row.variation_id, effect(row), p_value(row.p_value_adjusted)]
            table.add_row(*map(escape, cells))
        console.print(table)
        if len(hidden) > MAX_SLICES:
            console.print(f"and {len(hidden) - MAX_SLICES} more", style="dim")
    if harmed.is_plain.any():
        console.print(f"What is worse for everyone is worse in {harmed.is_plain.sum()} slices too.", style="dim")


def print_guardrails(console: Console, checks: pd.DataFrame) -> None:
    """The breaches, and how many other checks hold or are still open."""
    if checks.empty:
        return
    for row in checks[checks.state == "breach"].sort_values(["slice_name", "slice_value"]).itertuples():
        where = "" if row.slice_name == "all" else f" in {row.slice_name} = {row.slice_value}"
        line = Text(f"{row.action}: {row.metric_name} of {row.variation_id}{where}", style="bold red")
        harm = f"  harm {number(row.effect)}, at least {number(row.bound)}, tolerated {number(row.margin)}"
        line.append(f"{harm}; since {row.first_breach_at:%Y-%m-%d}", style="not bold")
        console.print(line)
    counts = checks.state.value_counts()
    names = {"pass": "hold", "inconclusive": "are open", "no_data": "lack data"}
    others = [f"{counts[state]} {name}" for state, name in names.items() if state in counts]
    if others:
        console.print(f"guardrail checks: {', '.join(others)}", style="dim")


def print_tradeoffs(console: Console, pairs: pd.DataFrame) -> None:
    """Goals that got better while another metric got worse."""
    for row in pairs[pairs.verdict == "trade_off"].sort_values(["goal_metric_name", "other_metric_name"]).itertuples():
        gain, loss = f"{row.goal_effect_absolute:+.3g}", f"{row.other_effect_absolute:+.3g}"
        line = f"trade-off of {row.variation_id}: {row.goal_metric_name} {gain}, {row.other_metric_name} {loss}"
        console.print(line, style="yellow")


def everyone_in(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows.dimension_name == "all") & (rows.dimension_value == "all")]


def print_signals(console: Console, marts: dict[str, pd.DataFrame]) -> None:
    """What users do after an answer, by model over the last days of which every turn is known; what fails most; and
    which signal to trust.
    """
    days = everyone_in(marts["implicit_signals_daily"])
    known = days[days.is_complete.astype(bool) & days.signal_name.isin(list(SIGNALS))]
    if known.empty:
        return
    console.rule("[bold]What users do after an answer[/]", align="left")
    last = pd.Timestamp(known.signal_date.max())
    dates = pd.to_datetime(known.signal_date)
    recent = known[dates > last - pd.Timedelta(days=SIGNAL_DAYS)]
    console.print(f"of 100 answers, over the {SIGNAL_DAYS} days to {last:%Y-%m-%d}", style="dim")
    columns = ("model", "answers", *SIGNALS.values())
    table = new_table(*columns, right=columns[1:])
    for model, rows in recent.groupby("model_version"):
        # Days are put together by their number of turns.
        events = (rows.rate * rows.turns_mature).groupby(rows.signal_name).sum()
        turns = rows.groupby("signal_name").turns_mature.sum()
        rates = 100 * events / turns.where(turns > 0)
        cells = [f"{rates[name]:.1f}" if pd.notna(rates.get(name)) else "-" for name in SIGNALS]
        table.add_row(escape(model), f"{turns.max():,}", *cells)
    console.print(table)
    print_worst_day(console, everyone_in(marts["trace_quality_daily"]))
    print_failure_modes(console, everyone_in(marts["failure_modes"]), last)
    print_signal_validity(console, everyone_in(marts["signal_validity"]))


def print_worst_day(console: Console, quality: pd.DataFrame) -> None:
    """The day on which most answers failed."""
    if quality.empty:
        return
    failed = (quality.error_rate.fillna(0) + quality.timeout_rate.fillna(0)) * quality.traces
    by_day = pd.DataFrame({"failed": failed, "traces": quality.traces}).groupby(quality.trace_date).sum()
    share = by_day.failed / by_day.traces
    worst = share.idxmax()
    line = Text(f"worst day: {pd.Timestamp(worst):%Y-%m-%d}", style="bold")
    line.append(f"  {share[worst]:.1%} errors and timeouts; the median day has {share.median():.1%}", style="not bold")
    console.print(line)


def print_failure_modes(console: Console, modes: pd.DataFrame, last: pd.Timestamp) -> None:
    """The commonest failures of the same days."""
    dates = pd.to_datetime(modes.failure_date)
    recent = modes[(dates <= last) & (dates > last - pd.Timedelta(days=SIGNAL_DAYS))]
    sums = recent.groupby("failure_mode")[["failures", "turns"]].sum()
    sums = sums[sums.failures > 0].sort_values("failures", ascending=False)
    if sums.empty:
        return
    common = [f"{escape(str(name))} {row.failures / row.turns:.1%}" for name, row in sums.head(MAX_MODES).iterrows()]
    console.print(f"what fails most, of the answers that could: {', '.join(common)}")


def print_signal_validity(console: Console, validity: pd.DataFrame) -> None:
    """The signals that tell most about the labels, either way."""
    known = validity[(validity.status == "ok") & validity.auc.notna()]
    if known.empty:
        return
    known = known.assign(strength=(known.auc - 0.5).abs())
    for label, rows in known.groupby("label_name"):
        best = rows.sort_values(["strength", "signal_name"], ascending=[False, True]).head(MAX_LABELLED)
        console.print(
            f"which signal goes with the label [bold]{escape(str(label))}[/]? AUC 0.5: none; below: against it"
        )
        table = new_table("signal", "turns", "AUC", "interval", right=("turns", "AUC"))
        for row in best.itertuples():
            interval = f"{row.auc_ci_lower:.2f} to {row.auc_ci_upper:.2f}" if pd.notna(row.auc_ci_lower) else "-"
            table.add_row(escape(row.signal_name), f"{row.turns:,}", f"{row.auc:.2f}", interval)
        console.print(table)


def drift_runs(summary: pd.DataFrame) -> pd.DataFrame:
    """Raised windows of a feature as one run while no pause between two of them is longer than DRIFT_PAUSE windows:
    from when to when, whether it goes on, and the worst that is known of quality in it.
    """
    rows = summary[summary.segment_name == "all"].copy()
    for column in ("window_start", "window_end", "change_point_at"):
        rows[column] = pd.to_datetime(rows[column])
    runs = []
    for (monitor, feature), series in rows.sort_values("window_start").groupby(["monitor_name", "feature_name"]):
        raised = series[series.status.isin(["warn", "alert"])]
        if raised.empty:
            continue
        pause = DRIFT_PAUSE * (raised.window_end - raised.window_start)
        judged_to = series[series.status != "insufficient"].window_start.max()
        for _, run in raised.groupby((raised.window_start.diff() > pause).cumsum()):
            first, last = run.iloc[0], run.iloc[-1]
            quality = set(run.quality)
            runs.append(
                {
                    "monitor": monitor,
                    "feature": feature,
                    "kind": run.drift_kind.mode()[0],
                    "is_performance": first.feature_kind == "performance",
                    "window": first.window_start,
                    "since": run.change_point_at.min() if run.is_sustained.any() else first.window_start,
                    "until": last.window_start,
                    "windows": len(run),
                    "is_sustained": bool(run.is_sustained.any()),
                    "goes_on": judged_to - last.window_start <= pause[last.name],
                    "quality": next((name for name in ("worse", "better", "unchanged") if name in quality), "unknown"),
                    "psi": pd.to_numeric(run.psi).max(),
                    "missing": f"missing {first.reference_missing_rate:.0%} to {first.window_missing_rate:.0%}"
                    if first.status_reason == "missing_rate"
                    else "",
                }
            )
    return pd.DataFrame(runs)


def print_drift(console: Console, marts: dict[str, pd.DataFrame]) -> None:
    """What moved and whether quality did; what goes on now comes first, what lasted before what was a spike."""
    summary, parts = marts["drift_summary"], marts["drift_decomposition"]
    if summary.empty:
        return
    console.rule("[bold]Did the inputs move, or did it get worse?[/]", align="left")
    runs = drift_runs(summary)
    watched = summary.groupby("monitor_name").agg(features=("feature_name", "nunique"), to=("window_end", "max"))
    names = [f"{name} ({row.features} columns and measures)" for name, row in watched.iterrows()]
    console.print(f"watched: {escape(', '.join(names))}", style="dim")
    if runs.empty:
        console.print("nothing has moved", style="green")
        return
    runs = runs.sort_values(
        ["goes_on", "is_sustained", "since", "monitor", "feature"], ascending=[False, False, True, True, True]
    )
    table = new_table(
        "monitor", "what moved", "kind", "since", "", "windows", "quality", "how much", right=("windows",)
    )
    whole = parts[(parts.slice == "all") & (parts.segment_name == "all")]
    at = whole.set_index(["monitor_name", "measure_name", pd.to_datetime(whole.window_start)])
    for row in runs.head(MAX_DRIFTS).itertuples():
        how_much = row.missing or ("" if pd.isna(row.psi) else f"PSI up to {row.psi:.2f}")
        if row.is_performance:
            change = at.loc[(row.monitor, row.feature, row.window)]
            how_much = f"{change.change:+.3f}, of it mix {change.mix:+.3f}"
        state = "goes on" if row.goes_on else "spike" if row.windows == 1 else f"to {row.until:%Y-%m-%d}"
        table.add_row(
            *(escape(row.monitor), escape(row.feature), row.kind, f"{row.since:%Y-%m-%d}", state, str(row.windows)),
            Text(row.quality, style="bold red" if row.quality == "worse" else ""),
            escape(how_much),
            style="" if row.is_sustained else "dim",
        )
    console.print(table)
    if len(runs) > MAX_DRIFTS:
        console.print(f"and {len(runs) - MAX_DRIFTS} more", style="dim")


def print_input_quality(console: Console, quality: pd.DataFrame) -> None:
    console.rule("[bold]Input quality[/]", align="left")
    changed = quality[(quality.rows_dropped.fillna(0) > 0) | (quality.rows_repaired.fillna(0) > 0)]
    if changed.empty:
        console.print("no raw row was dropped or repaired", style="green")
        return
    columns = ("input", "rule", "seen", "dropped", "repaired", "share", "meaning")
    table = new_table(*columns, right=("seen", "dropped", "repaired", "share"))
    for row in changed.sort_values(["input_name", "rule"]).itertuples():
        counts = [
            f"{int(count):,}" if pd.notna(count) else "-"
            for count in (row.rows_seen, row.rows_dropped, row.rows_repaired)
        ]
        share = "-" if pd.isna(row.share) else f"{row.share:.2%}"
        meaning = row.description if isinstance(row.description, str) else ""
        table.add_row(escape(row.input_name), escape(row.rule), *counts, share, escape(meaning))
    console.print(table)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    arguments = parser.parse_args(words)
    try:
        with open_warehouse(arguments, read_only=True) as warehouse:
            marts = {name: warehouse.model(name) for name in MARTS}
            # A project without traces has none of these.
            has_signals = all(warehouse.has_model(name) for name in SIGNAL_MARTS)
            if has_signals:
                marts |= {name: warehouse.model(name) for name in SIGNAL_MARTS}
            marts |= {name: warehouse.model(name) for name in DRIFT_MARTS}
            where = f"The marts are in the schema {warehouse.schema(MARTS[0])} of {warehouse.description}."
    except WarehouseError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    results, health = marts["experiment_results"], marts["experiment_health"]
    guardrails, tradeoffs = marts["guardrail_checks"], marts["experiment_tradeoffs"]
    console = Console(width=min(WIDTH, Console().width) if sys.stdout.isatty() else WIDTH, highlight=False)
    experiments = sorted(set(results.experiment_id) | set(health.experiment_id))
    as_of = results.as_of_at.max() if len(results) else None
    console.print(
        f"[bold]evalhouse[/]: {len(experiments)} experiments" + (f" as of {as_of}" if pd.notna(as_of) else "")
    )
    for experiment_id in experiments:
        console.print()
        console.rule(f"[bold]{escape(experiment_id)}[/]", align="left")
        print_health(console, health[health.experiment_id == experiment_id])
        print_results(console, results[results.experiment_id == experiment_id])
        print_tradeoffs(console, tradeoffs[tradeoffs.experiment_id == experiment_id])
        print_guardrails(console, guardrails[guardrails.experiment_id == experiment_id])
    if not experiments:
        console.print("the marts are empty: no experiment has an exposure yet")
    if has_signals:
        console.print()
        print_signals(console, marts)
    console.print()
    print_drift(console, marts)
    console.print()
    print_input_quality(console, marts["input_quality"])
    console.print()
    console.rule("[bold]Where to look next[/]", align="left")
    table = new_table("", "")
    table.show_header = False
    for name, meaning in NEXT:
        table.add_row(escape(name), escape(meaning), style=None)
    console.print(table)
    console.print(where, style="dim")
    return 0


if __name__ == "__main__":
    sys.exit(main())
