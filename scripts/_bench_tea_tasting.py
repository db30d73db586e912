"""The benchmark's job done with tea-tasting over Ibis and DuckDB, one experiment after the other, as its users would.

Runs in the environment of requirements-bench.lock: `_bench_tea_tasting.py FILE SETTINGS`. Repeated outcomes are removed
once, for all experiments; tea-tasting then gets one row per unit, and computes its sums in DuckDB. Prints the effects
as JSON.
"""

from __future__ import annotations

import json
import sys

import ibis
import tea_tasting as tt

COUNTS = {
    "page_views": "page_view",
    "messages_sent": "message_sent",
    "clicks": "click",
    "copies": "copy_response",
    "thumbs_up": "thumbs_up",
    "thumbs_down": "thumbs_down",
    "regenerations": "regenerate",
}
METRICS = [*COUNTS, "revenue"]

OUTCOMES = """
create or replace temp table clean_outcomes as
select distinct on (outcome_id) unit_id, event_name, occurred_at, value from raw.outcomes
"""


def units_of(experiment: str) -> str:
    """The statement with one row per unit of an experiment."""
    sums = []
    for name in METRICS:
        what = f"event_name = '{COUNTS.get(name, 'purchase')}'"
        value = "1" if name in COUNTS else "value"
        for prefix, when in (("", "occurred_at >= exposed_at"), ("before_", "occurred_at < exposed_at")):
            sums.append(f"coalesce(sum({value}) filter (where {what} and {when}), 0)::double as {prefix}{name}")
    return f"""
        with exposed as (
            select unit_id, min(exposed_at) as exposed_at, min(variation_id) as variation
            from raw.exposures
            where experiment_id = '{experiment}'
            group by unit_id
            having min(variation_id) = max(variation_id)
        )

        select exposed.unit_id, any_value(exposed.variation) as variation, {", ".join(sums)}
        from exposed
        left join clean_outcomes
            on exposed.unit_id = clean_outcomes.unit_id
            and clean_outcomes.occurred_at >= exposed.exposed_at - interval 28 days
        group by exposed.unit_id
    """


def main() -> None:
    database, settings = sys.argv[1], json.loads(sys.argv[2])
    connection = ibis.duckdb.connect(database, read_only=True)
    for name, value in settings.items():
        connection.raw_sql(f"set {name} = '{value}'")
    connection.raw_sql(OUTCOMES)
    analysis = tt.Experiment(
        {
            "sample_ratio": tt.SampleRatio(),
            **{name: tt.Mean(name, covariate=f"before_{name}") for name in METRICS},
            "regenerations_per_message": tt.RatioOfMeans("regenerations", "messages_sent"),
            "revenue_per_click": tt.RatioOfMeans("revenue", "clicks"),
        },
        variant="variation",
    )
    experiments = connection.raw_sql("select distinct experiment_id from raw.exposures order by all").fetchall()
    effects = []
    for (experiment,) in experiments:
        result = analysis.analyze(connection.sql(units_of(experiment)))
        for name in analysis.metrics:
            if name != "sample_ratio":
                effects.append(
                    {
                        "experiment_id": experiment,
                        "metric_name": name,
                        "effect": result[name].effect_size,
                        "ci_lower": result[name].effect_size_ci_lower,
                        "ci_upper": result[name].effect_size_ci_upper,
                    }
                )
    print(json.dumps(effects))


if __name__ == "__main__":
    main()
