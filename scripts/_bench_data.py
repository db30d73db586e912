"""Raw tables for the benchmark, made by DuckDB straight into a file.

    python scripts/_bench_data.py made.duckdb --scale 0.2
    python scripts/_bench_data.py made.duckdb --scale 0.2 --experiments 20
    python scripts/_bench_data.py made.duckdb --scale 0.1 --days 60 --hold-back

Scale 1 is 5 million units: about 26 million exposures in five experiments, 50 million outcomes over 56 days, of which
experiments run in the last 28, and 20 million traces over those 28. More days or experiments add rows at the same rate.
Planted: experiment 1 raises values by 2 %, experiment 5 has a broken split (52 : 48), a few units see both arms, one
outcome in a hundred comes twice, and traces drift in their second half.

Every draw is a hash of the row's number and the draw's, and rows are numbered by day: the same rows for any number of
threads, and a longer history begins with the rows of a shorter one (but for exposures, which are spread over it).
"""

from __future__ import annotations

import argparse
import json
from datetime import date, timedelta
from pathlib import Path

import duckdb

START = date(2024, 3, 1)
DAYS = 28
DAYS_BEFORE = 28
EXPERIMENTS = 5
UNITS, OUTCOMES_PER_DAY, TRACES_PER_DAY = 5_000_000, 50_000_000 / 56, 20_000_000 / 28
TURNS_PER_SESSION = 4
TABLES = ("exposures", "outcomes", "traces")
TIMES = {"exposures": "exposed_at", "outcomes": "occurred_at", "traces": "started_at"}
# Of the outcomes and traces of the two days before the one that is held back: key, and what a correction says.
CORRECTIONS = {
    "outcomes": ("outcome_id", "round(1.5 * value, 2) as value"),
    "traces": ("trace_id", "'timeout' as status"),
}
SHARE_LATE, SHARE_CORRECTED = 0.005, 0.005

MACROS = (
    "create or replace temp macro draw(i, stream) as ((hash(i * 32 + stream) >> 11)::double + 0.5) / 9007199254740992",
    "create or replace temp macro normal(i, stream) as"
    " sqrt(-2 * ln(draw(i, stream))) * cos(2 * pi() * draw(i, stream + 1))",
    f"create or replace temp macro moment(day) as"
    f" timestamp '{START} 00:00:00' + to_seconds(floor(86400 * day)::bigint)",
)


def day(number: int) -> str:
    """The date of a day of the experiments, the first of which is 0."""
    return (START + timedelta(days=number)).isoformat()


def exposures(scale: float, experiments: int, days: int) -> str:
    """Four units in five enter an experiment, early rather than late, a quarter of them more than once.

    Experiments beyond the fifth are the same five on the same units, who enter each at another hour.
    """
    return f"""
        with entered as (
            select
                pair // {EXPERIMENTS} as unit,
                pair % {EXPERIMENTS} + 1 + {EXPERIMENTS} * copy as experiment,
                draw(pair, 1) < case when pair % {EXPERIMENTS} = 4 then 0.52 else 0.5 end as is_control,
                {days} * pow(draw(pair, 2), 2) as first_day,
                case when draw(pair, 3) < 0.05 then 3 when draw(pair, 3) < 0.25 then 2 else 1 end as times,
                draw(pair, 4) < 0.004 as changes_arm,
                case when copy > 0 then draw(pair * 64 + copy, 6) * 0.3 else 0 end as delay
            from range({EXPERIMENTS * round(UNITS * scale)}) as pairs (pair), range({experiments // EXPERIMENTS})
                as copies (copy)
            where draw(pair, 0) < 0.8
        ),

        repeated as (
            select *, first_day + number * ({days} - first_day) / 4 as drawn_day
            from (select *, unnest(range(times)) as number from entered)
        )

        select
            'user_' || unit as unit_id,
            'experiment_' || experiment as experiment_id,
            case when is_control <> (changes_arm and number > 0) then 'control' else 'treatment' end as variation_id,
            moment(drawn_day + delay * ({days} - drawn_day)) as exposed_at
        from repeated
    """


def outcomes(scale: float, first_day: int, last_day: int) -> str:
    """Skewed activity, eight events, values that depend on the unit: what came before tells what comes after."""
    per_day = round(OUTCOMES_PER_DAY * scale)
    first, last = (per_day * (number + DAYS_BEFORE) for number in (first_day, last_day))
    return f"""
        with drawn as (
            select
                outcome,
                floor({round(UNITS * scale)} * pow(draw(outcome, 10), 1.6))::bigint as unit,
                draw(outcome, 11) as event,
                outcome // {max(per_day, 1)} - {DAYS_BEFORE} + draw(outcome, 12) as day,
                normal(outcome, 13) as noise,
                draw(outcome, 15) < 0.01 as is_repeated
            from range({first}, {last}) as outcomes (outcome)
        )

        select
            'event_' || outcome as outcome_id,
            'user_' || unit as unit_id,
            case
                when event < 0.40 then 'page_view' when event < 0.60 then 'message_sent' when event < 0.74 then 'click'
                when event < 0.84 then 'copy_response' when event < 0.90 then 'thumbs_up'
                when event < 0.93 then 'thumbs_down' when event < 0.97 then 'regenerate' else 'purchase'
            end as event_name,
            moment(day) as occurred_at,
            round(exp(
                3 + 0.6 * normal(unit, 16) + 0.7 * noise
                + case
                    when day > 0 and draw(unit * {EXPERIMENTS}, 0) < 0.8 and draw(unit * {EXPERIMENTS}, 1) >= 0.5
                        then 0.02 else 0
                end
            ), 2) as value
        from (select *, unnest(case when is_repeated then [0, 1] else [0] end) from drawn)
    """


def traces(scale: float, first_day: int, last_day: int, days: int) -> str:
    """Sessions of four turns. In the second half answers take 15 % longer, a new model takes a third of the traffic
    and the mix of countries shifts; devices and lengths stay as they are."""
    per_day = round(TRACES_PER_DAY * scale) // TURNS_PER_SESSION * TURNS_PER_SESSION
    return f"""
        with drawn as (
            select
                trace,
                trace // {TURNS_PER_SESSION} as session,
                trace // {max(per_day, 1)} as day,
                normal(trace, 23) as of_latency,
                normal(trace, 25) as of_input,
                normal(trace, 27) as of_output,
                draw(trace, 29) as model,
                draw(trace, 30) as country,
                draw(trace, 31) as device,
                draw(trace, 5) as status
            from range({per_day * first_day}, {per_day * last_day}) as traces (trace)
        ),

        placed as (
            select
                *,
                day >= {days} / 2 as is_late,
                floor({round(UNITS * scale)} * pow(draw(session, 20), 1.6))::bigint as unit,
                -- The last turn of a session is of the same day as its first.
                day + 0.98 * draw(session, 21) + (trace % {TURNS_PER_SESSION} * 400 + 300 * draw(trace, 22)) / 86400
                    as started_day
            from drawn
        )

        select
            'trace_' || trace as trace_id,
            'user_' || unit as unit_id,
            'session_' || session as session_id,
            moment(started_day) as started_at,
            round(exp(6.6 + 0.7 * of_latency) * case when is_late then 1.15 else 1 end, 2) as latency_ms,
            greatest(1, exp(5.5 + 0.8 * of_input))::int as input_tokens,
            greatest(1, exp(5 + 0.9 * of_output + 0.2 * of_latency))::int as output_tokens,
            round((3 * exp(5.5 + 0.8 * of_input) + 15 * exp(5 + 0.9 * of_output + 0.2 * of_latency)) / 1e6, 6)
                as cost_usd,
            case
                when model < case when is_late then 0.35 else 0.02 end then 'v3' when model < 0.75 then 'v2' else 'v1'
            end as model_version,
            case
                when country < case when is_late then 0.34 else 0.42 end then 'US' when country < 0.58 then 'IN'
                when country < 0.70 then 'DE' when country < 0.80 then 'BR' when country < 0.87 then 'GB'
                when country < 0.92 then 'FR' when country < 0.95 then 'JP' else 'other'
            end as country,
            case when device < 0.52 then 'mobile' when device < 0.91 then 'desktop' when device < 0.98 then 'tablet' end
                as device,
            case when status < 0.01 then 'error' when status < 0.02 then 'refusal' else 'ok' end as status
        from placed
    """


def generate(
    connection: duckdb.DuckDBPyConnection,
    scale: float,
    *,
    experiments: int = EXPERIMENTS,
    days: int = DAYS,
    tables: tuple[str, ...] = TABLES,
    hold_back: bool = False,
) -> dict[str, int]:
    """Writes the tables to the schema `raw` and returns their numbers of rows. Scale 0 makes empty tables.

    With `hold_back` one more day lies in the schema `held_back`, together with outcomes and traces of the two days
    before that are late (missing in `raw`) or correct one in `raw`; `add_held_back_day` brings it in. Rows then say
    when they were loaded.
    """
    if experiments % EXPERIMENTS:
        raise ValueError(f"experiments come in groups of {EXPERIMENTS}")
    for macro in MACROS:
        connection.execute(macro)
    span = days + hold_back
    queries = {
        "exposures": exposures(scale, experiments, span),
        "outcomes": outcomes(scale, -DAYS_BEFORE, days),
        "traces": traces(scale, 0, days, span),
    }
    next_day = {
        "exposures": queries["exposures"],
        "outcomes": outcomes(scale, days, days + 1),
        "traces": traces(scale, days, days + 1, span),
    }
    connection.execute("create schema if not exists raw")
    for table in tables:
        time, query = TIMES[table], queries[table]
        if not hold_back:
            order = f"order by {time}, unit_id, experiment_id" if table == "exposures" else ""
            connection.execute(f"create or replace table raw.{table} as {query} {order}")
            continue
        connection.execute("create schema if not exists held_back")
        cut, loaded = f"{time} < '{day(days)}'", f"{time} + interval 5 minute as loaded_at"
        order = f"order by {time}, unit_id, experiment_id" if table == "exposures" else ""
        kept = f"and not {recent(table, days, 'late')}" if table in CORRECTIONS else ""
        connection.execute(
            f"create or replace table raw.{table} as select *, {loaded} from ({query}) where {cut} {kept} {order}"
        )
        connection.execute(
            f"create or replace table held_back.{table} as"
            f" select *, {loaded} from ({next_day[table]}) where not ({cut}) {order}"
        )
        if table in CORRECTIONS:
            _, correction = CORRECTIONS[table]
            last_days = {
                "outcomes": outcomes(scale, days - 2, days),
                "traces": traces(scale, days - 2, days, span),
            }[table]
            connection.execute(
                f"""
                insert into held_back.{table}
                select *, timestamp '{day(days + 1)}' as loaded_at
                from ({last_days}) where {recent(table, days, "late")}
                union all
                select * replace ({correction}), timestamp '{day(days + 1)}' as loaded_at
                from ({last_days}) where {recent(table, days, "corrected")}
                """
            )
    return {name: connection.execute(f"select count(*) from raw.{name}").fetchone()[0] for name in tables}


def recent(table: str, days: int, kind: str) -> str:
    """Whether an outcome or a trace of the last two days comes late, or is corrected, a day later."""
    low, high = (0, SHARE_LATE) if kind == "late" else (SHARE_LATE, SHARE_LATE + SHARE_CORRECTED)
    key, _ = CORRECTIONS[table]
    # event_<number>, trace_<number>
    number = f"substr({key}, 7)::bigint"
    return f"({TIMES[table]} >= '{day(days - 2)}' and draw({number}, 17) >= {low} and draw({number}, 17) < {high})"


def add_held_back_day(connection: duckdb.DuckDBPyConnection, on_time: bool = False) -> dict[str, int]:
    """Appends what was held back to the raw tables, or only what comes `on_time`; returns the numbers of new rows."""
    tables = connection.execute("select table_name from duckdb_tables() where schema_name = 'held_back'").fetchall()
    added = {}
    for (table,) in sorted(tables):
        wanted = f"where loaded_at - interval 5 minute = {TIMES[table]}" if on_time else ""
        added[table] = connection.execute(f"insert into raw.{table} from held_back.{table} {wanted}").fetchone()[0]
        connection.execute(f"drop table held_back.{table}")
    return added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a DuckDB file, not called raw; tables of its schema raw are replaced")
    parser.add_argument("--scale", type=float, default=0.02)
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS, help="a multiple of 5")
    parser.add_argument("--days", type=int, default=DAYS, help="how long the experiments run")
    parser.add_argument("--hold-back", action="store_true", help="put one more day into the schema held_back")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--settings", type=json.loads, default={}, help="settings of DuckDB, as JSON")
    arguments = parser.parse_args()
    with duckdb.connect(str(arguments.file)) as connection:
        for name, value in arguments.settings.items():
            connection.execute(f"set {name} = '{value}'")
        rows = generate(
            connection,
            arguments.scale,
            experiments=arguments.experiments,
            days=arguments.days,
            tables=tuple(arguments.tables),
            hold_back=arguments.hold_back,
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
