"""The part of the benchmark that times `turns`: raw traces with text, against a bare comparison of words.

The package builds `turns` and everything it needs; bench/token_jaccard.sql only splits each text into words and
compares them with those of the turn before. The package on empty tables gives dbt's fixed cost. The plans of all models
on the way are searched for scans of the raw table: there must be one.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

VARIABLES = {
    "raw_schema": "raw",
    "inputs": ["exposures", "outcomes", "traces"],
    "metrics": [],
    "dimensions": ["country"],
}
SELECTION = "+turns"
WORDS = 30_000
# The most frequent words of a text are those that hold it together.
FREQUENT = """
the to a of i in is and for how what my do can it on with this you that be are me not have from an if or at as
your get we when there use by will does all was but which why has about would where so should after more they
one no up out who make any some them into than only his her also could then its did just our
"""


def generate(connection: duckdb.DuckDBPyConnection, turns: int) -> int:
    """Sessions of five turns of 5 to 20 words with Zipf's frequencies, about 75 characters; every fourth turn takes
    up most of the words of the one before. Every draw is a hash: the same for any number of threads."""
    connection.execute("create schema if not exists raw")
    connection.execute(
        f"""
        create or replace temp table vocabulary as
        select
            word,
            coalesce({FREQUENT.split()}[word + 1], list_aggregate(list_transform(
                range(0, 2 + (hash(word) % 4)::int),
                lambda k: substr('bcdfghjklmnprstvwz', (hash(word * 31 + k) % 18)::int + 1, 1)
                || substr('aeiou', (hash(word * 77 + k) % 5)::int + 1, 1)
            ), 'string_agg', '')) as spelling
        from range({WORDS}) as words (word)
        """
    )
    connection.execute(
        f"""
        create or replace table raw.traces as
        with positions as (
            select
                turn,
                position,
                -- A turn that says it again: the words of the turn before, one in five exchanged.
                turn - (hash(turn) % 4 = 0 and hash(turn * 64 + position) % 5 > 0)::int as said_in
            from range({turns}) as turns (turn), range(20) as positions (position)
            where position < 5 + hash(turn) % 16
        ),
        texts as (
            select
                turn,
                string_agg(spelling, ' ' order by position) as input_text
            from positions
            inner join vocabulary
                on vocabulary.word
                = pow({WORDS}, (hash(said_in * 20 + position) >> 11)::double / 9007199254740992)::int % {WORDS}
            group by turn
        )
        select
            'trace_' || turn as trace_id,
            'user_' || hash(turn // 5) % {max(turns // 15, 1)} as unit_id,
            'session_' || turn // 5 as session_id,
            timestamp '2024-03-01'
                + to_seconds((hash(turn // 5) % 2419200 + turn % 5 * 70 + hash(turn + 1) % 50)::bigint) as started_at,
            1000 + (hash(turn + 2) % 9000)::double as latency_ms,
            input_text,
            200 + (hash(turn + 3) % 1500)::double as output_chars,
            100 + (hash(turn + 4) % 300)::double as output_tokens,
            0.01 as cost_usd,
            'model_' || hash(turn // 5) % 2 as model_version,
            'ok' as status,
            case when hash(turn // 5) % 3 = 0 then 'DE' else 'US' end as country
        from texts
        """
    )
    connection.execute(
        """
        create or replace table raw.exposures as
        select
            'experiment' as experiment_id,
            case when hash(unit_id) % 2 = 0 then 'control' else 'treatment' end as variation_id,
            unit_id,
            min(started_at) as exposed_at
        from raw.traces
        group by unit_id
        """
    )
    connection.execute(
        """
        create or replace table raw.outcomes as
        select
            'event_' || trace_id as outcome_id,
            unit_id,
            case hash(trace_id) % 3 when 0 then 'copy' when 1 then 'thumbs_up' else 'escalation' end as event_name,
            started_at + interval 20 second as occurred_at,
            case when hash(trace_id) % 2 = 0 then trace_id end as trace_id
        from raw.traces
        where hash(trace_id) % 10 < 2
        """
    )
    return connection.execute("select count(*) from raw.traces").fetchone()[0]


def make(database: Path, turns: int) -> None:
    """Writes the tables into a DuckDB file."""
    with duckdb.connect(str(database)) as connection:
        generate(connection, turns)


def scans_of_raw_traces(database: Path, target: Path) -> dict[str, int]:
    """How often the plan of each model that was run scans the raw table."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    found = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set schema = 'main_evalhouse'")
        for result in results:
            name = result["unique_id"].split(".")[-1]
            # A view is planned where it is read.
            if not name.startswith("stg_"):
                plan = connection.execute(f"explain {result['compiled_code']}").fetchall()[0][1]
                scans = plan.replace(" ", "").count("raw.traces")
                if scans:
                    found[name] = scans
    return found
