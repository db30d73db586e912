"""Make the example world: raw tables of a small AI-assistant product whose truth is known.

The committed seeds are this script's output at its default size:

    python scripts/generate_world.py --docs docs/example_world.md

The same arguments give the same bytes. Only the raw bits of numpy's PCG64 are used, because those are the part of
numpy's random module that is promised never to change; text is formatted here, not by pandas. People are made in
batches, so memory does not grow with their number.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import _example_tickets as router
import _example_traces as talk
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_USERS = 1700
DEFAULT_SEED = 2034
BATCH_USERS = 50_000
DAY = 86_400
HOUR = 3_600
WORLD_START = "2026-01-05"
WORLD_DAYS = 35

# country, language, share of users, hours ahead of UTC
LOCALES = [
    ("US", "en", 0.29, -6.0),
    ("GB", "en", 0.13, 0.0),
    ("IN", "en", 0.08, 5.5),
    ("JP", "ja", 0.19, 9.0),
    ("MX", "es", 0.10, -6.0),
    ("ES", "es", 0.08, 1.0),
    ("DE", "de", 0.13, 1.0),
]
DEVICES = [("ios", 0.36), ("android", 0.38), ("web", 0.26)]
WEEKDAY_FACTOR = [1.1, 1.1, 1.1, 1.1, 1.0, 0.7, 0.7]
HARMED_LANGUAGE = "ja"
SLOW_SHARE_OF_ANDROID = 0.8
RE_EXPOSURE_SHARE = 0.2


@dataclass(frozen=True)
class Population:
    """People of one kind. `log_odds` are of an event in a session: its level, and what a standard deviation of skill
    and a slow phone add; `drift` is added for each day since the world began. Events without log-odds aren't logged.
    Somebody's data reaches into the next day, or else the last day would not be complete. Of those who talk every turn
    is traced (`_example_traces`), and their events follow from the answers; `late_sessions` more begin in the last
    minutes, when it is too early to say how they go on.
    """

    name: str
    size: int
    log_odds: dict[str, tuple[float, float, float]]
    drift: dict[str, float] = field(default_factory=dict)
    daily_rate: float = 0.0
    activity_spread: float = 0.0
    comes_once_from: int | None = None
    hours_after_last_day: int = 2
    logs_return_visits: bool = False
    is_dirty: bool = False
    is_dirty_in_traces: bool = False
    comes_from: int = 0
    talks: bool = False
    locale_shares: tuple[float, ...] = ()
    late_sessions: int = 0


POPULATIONS = [
    Population(
        "users",
        DEFAULT_USERS,
        {
            "task_complete": (-1.1, 0.8, -1.3),
            "copy": (-1.0, 0.4, 0.0),
            "regenerate": (-2.0, -0.2, 0.0),
            "thumbs_up": (-2.6, 0.3, 0.0),
            "thumbs_down": (-3.1, -0.3, 0.0),
            "rating": (-3.0, 0.0, 0.0),
            "escalation": (-3.0, -0.2, 0.0),
            "conversion": (-2.7, 0.5, 0.0),
            "session_end": (-0.6, 0.0, 0.0),
        },
        daily_rate=0.069,
        activity_spread=1.05,
        hours_after_last_day=0,
        logs_return_visits=True,
        is_dirty=True,
    ),
    Population(
        "guests",
        2160,
        {
            "task_complete": (-3.3, 0.3, 0.0),
            "regenerate": (-2.4, 0.0, 0.0),
            "rating": (-0.6, 0.0, 0.0),
            "escalation": (-1.2, 0.0, 0.0),
        },
        drift={"task_complete": 0.13, "escalation": -0.04},
        comes_once_from=8,
    ),
    Population(
        "staff",
        230,
        {
            "task_complete": (-0.9, 0.4, 0.0),
            "regenerate": (-2.4, 0.0, 0.0),
            "escalation": (-3.4, 0.0, 0.0),
        },
        daily_rate=0.75,
        activity_spread=0.3,
    ),
    Population(
        "members",
        1960,
        {},
        daily_rate=0.087,
        activity_spread=0.45,
        comes_from=7,
        talks=True,
        is_dirty_in_traces=True,
        locale_shares=(0.34, 0.21, 0.10, 0.06, 0.13, 0.08, 0.08),
        late_sessions=30,
    ),
    Population(
        "newcomers",
        560,
        {},
        daily_rate=0.075,
        activity_spread=0.45,
        comes_from=14,
        talks=True,
        locale_shares=(0.34, 0.21, 0.10, 0.06, 0.13, 0.08, 0.08),
    ),
]


@dataclass(frozen=True)
class Experiment:
    """One experiment. `effects` maps an arm to shifts of the log-odds of an event in a session (`stars`: of the rating
    itself); where they fade they are gone, bit by bit, that many days after the person's first exposure. `models` are
    the model versions that answer in the arms.
    """

    experiment_id: str
    start_day: float
    end_day: float
    arms: dict[str, float]
    population: str = "users"
    stage: str = "ab"
    effects: dict[str, dict[str, float]] = field(default_factory=dict)
    fades_in_days: float | None = None
    harmed_effects: dict[str, dict[str, float]] = field(default_factory=dict)
    devices: tuple[str, ...] = ("ios", "android", "web")
    by_organisation: bool = False
    loses_slow_phones: bool = False
    loses_traces: bool = False
    models: dict[str, str] = field(default_factory=dict)
    ramp: tuple[tuple[float, dict[str, float]], ...] = ()
    end_is_logged: bool = True
    planned_units: int | None = 1200
    planned_looks: int | None = 1


EXPERIMENTS = [
    Experiment(
        "answer_model_v2",
        14.0,
        32.0,
        {"control": 0.5, "treatment": 0.5},
        effects={"treatment": {"task_complete": 0.95, "copy": 0.35, "thumbs_up": 0.4}},
        models={"treatment": "assistant-2"},
        planned_units=1150,
        planned_looks=5,
    ),
    Experiment("sidebar_redesign", 16.0, 33.0, {"control": 0.5, "treatment": 0.5}),
    Experiment(
        "concise_answers",
        15.0,
        33.0,
        {"control": 0.5, "treatment": 0.5},
        effects={"treatment": {"task_complete": 1.3}},
        harmed_effects={"treatment": {"task_complete": -2.4}},
    ),
    Experiment(
        "voice_input",
        15.0,
        31.0,
        {"control": 0.5, "treatment": 0.5},
        devices=("ios", "android"),
        loses_slow_phones=True,
        planned_units=800,
    ),
    Experiment(
        "tone_of_voice",
        17.0,
        35.0,
        {"control": 0.5, "detailed": 0.25, "brief": 0.25},
        effects={"brief": {"task_complete": -1.5, "escalation": 1.6}},
        end_is_logged=False,
        planned_looks=14,
    ),
    Experiment(
        "retrieval_rerank",
        11.0,
        29.0,
        {"control": 0.5, "treatment": 0.5},
        effects={"treatment": {"task_complete": 0.9}},
        ramp=((11.0, {"control": 0.9, "treatment": 0.1}), (18.0, {"control": 0.5, "treatment": 0.5})),
    ),
    Experiment(
        "workspace_memory",
        14.0,
        34.0,
        {"control": 0.5, "treatment": 0.5},
        by_organisation=True,
        planned_units=700,
    ),
    Experiment(
        "step_by_step",
        8.0,
        15.0,
        {"control": 0.5, "treatment": 0.5},
        population="guests",
        effects={"treatment": {"task_complete": 1.1, "stars": -0.9}},
        planned_units=560,
    ),
    Experiment(
        "small_model",
        15.0,
        36.0,
        {"control": 0.5, "treatment": 0.5},
        population="guests",
        stage="canary",
        effects={"treatment": {"task_complete": -0.45, "escalation": 1.9}},
        ramp=(
            (15.0, {"control": 0.99, "treatment": 0.01}),
            (22.0, {"control": 0.9, "treatment": 0.1}),
            (27.0, {"control": 0.5, "treatment": 0.5}),
        ),
        end_is_logged=False,
        planned_units=None,
        planned_looks=None,
    ),
    Experiment(
        "suggested_prompts",
        7.0,
        36.0,
        {"control": 0.5, "treatment": 0.5},
        population="staff",
        effects={"treatment": {"task_complete": 2.4}},
        fades_in_days=10.0,
        planned_units=230,
    ),
    Experiment(
        "answer_model_v3",
        7.0,
        36.0,
        {"control": 0.5, "treatment": 0.5},
        population="members",
        models={"control": "assistant-2", "treatment": talk.FRUSTRATING_MODEL},
        planned_units=1700,
        planned_looks=4,
    ),
    Experiment(
        "source_links",
        14.0,
        36.0,
        {"control": 0.5, "treatment": 0.5},
        population="newcomers",
        models={"control": "assistant-2", "treatment": "assistant-2"},
        loses_traces=True,
        planned_units=400,
    ),
]
WARMED_UP_IN_SHADOW = "answer_model_v2"
SHADOW_DAYS = (10.0, 14.0)
UNSTABLE_BUCKETS_IN = "sidebar_redesign"

# What was planted, and what a right analysis therefore says. The docs are written from this, the tests assert it.
# `verdicts` are by (metric, variation, dimension, value).
TRUTH = {
    "answer_model_v2": {
        "planted": "A real win: the log-odds that a session completes a task rise by 0.95, copies and thumbs-up rise "
        "too. It ran in shadow before it started. 1,150 users and five looks were planned.",
        "says": "`better` at `all`. The shadow rows are not exposures. Looks at a fifth, two fifths and so on of the "
        "planned users have group-sequential boundaries.",
        "verdicts": {("task_completion", "treatment", "all", "all"): "better"},
        "srm": "pass",
    },
    "sidebar_redesign": {
        "planted": "Nothing: the two arms are the same. A few users were moved from one arm to the other.",
        "says": "`inconclusive`. The health check warns about users in both arms, which are left out.",
        "verdicts": {("task_completion", "treatment", "all", "all"): "inconclusive"},
        "srm": "pass",
    },
    "concise_answers": {
        "planted": "Helps everyone (log-odds up by 1.3) except speakers of Japanese, who are clearly harmed (down by "
        "2.4).",
        "says": "`better` at `all`, `worse` in the slice language = ja: not to be shipped as it is.",
        "verdicts": {
            ("task_completion", "treatment", "all", "all"): "better",
            ("task_completion", "treatment", "language", "ja"): "worse",
        },
        "srm": "pass",
    },
    "voice_input": {
        "planted": "No effect at all, but the exposure log loses the treated users with slow Android phones, who also "
        "complete fewer tasks.",
        "says": "The sample-ratio check fails (p < 1e-6): whatever the results say is not to be trusted, and they look "
        "like a win.",
        "verdicts": {},
        "srm": "fail",
    },
    "tone_of_voice": {
        "planted": "Three arms, split 50/25/25. `detailed` changes nothing; `brief` completes fewer tasks (log-odds "
        "down by 1.5) and escalates more (up by 1.6). The registry has no end date.",
        "says": "`detailed` inconclusive, `brief` worse, and the escalation guardrail is breached for `brief`.",
        "verdicts": {
            ("task_completion", "detailed", "all", "all"): "inconclusive",
            ("task_completion", "brief", "all", "all"): "worse",
            ("escalation_rate", "brief", "all", "all"): "worse",
        },
        "srm": "pass",
    },
    "retrieval_rerank": {
        "planted": "A real win (log-odds up by 0.9) behind a ramp: 10% treated for a week, then 50%. The busiest users "
        "come first, so the first phase holds better users and mostly controls.",
        "says": "`better` when the phases are kept apart; pooling them hides half of the effect.",
        "verdicts": {("task_completion", "treatment", "all", "all"): "better"},
        "srm": "pass",
    },
    "workspace_memory": {
        "planted": "Nothing. Whole organisations were randomised, and organisations differ.",
        "says": "`inconclusive`, with standard errors clustered by organisation.",
        "verdicts": {("task_completion", "treatment", "all", "all"): "inconclusive"},
        "srm": "pass",
    },
    "step_by_step": {
        "planted": "A trade-off among guests: the treated complete more tasks (log-odds up by 1.1) and like it less "
        "(0.9 stars down before rounding).",
        "says": "`better` on `task_completion`, `worse` on `average_rating`: somebody has to decide.",
        "verdicts": {
            ("task_completion", "treatment", "all", "all"): "better",
            ("average_rating", "treatment", "all", "all"): "worse",
        },
        "srm": "pass",
    },
    "small_model": {
        "planted": "A canary that does harm, ramped 1%, 10%, 50%: mildly to tasks (log-odds down by 0.45), badly to "
        "escalations (up by 1.9). Meanwhile the questions get easier: the share of guests who leave without their task "
        "falls from phase to phase. It has no plan and is still running.",
        "says": "`worse` on `task_completion` when the phases are kept apart, though pooling them reads `better`. The "
        "escalation guardrail is breached long before the ramp ends, and a rollback is due.",
        "verdicts": {
            ("task_completion", "treatment", "all", "all"): "worse",
            ("escalation_rate", "treatment", "all", "all"): "worse",
        },
        "srm": "pass",
    },
    "suggested_prompts": {
        "planted": "Novelty among staff: the log-odds of a task rise by 2.4 at first, and the effect has faded to "
        "nothing ten days after a person's first exposure. Still running.",
        "says": "`better` on `tasks_per_user`, but only because of the first days: later the same people have nothing "
        "of it.",
        "verdicts": {("tasks_per_user", "treatment", "all", "all"): "better"},
        "srm": "pass",
    },
    "answer_model_v3": {
        "planted": "A newer model that looks better: it answers faster and costs less. But more of its answers are bad "
        "(30% against 20%), so its users say it again more often, and as many tasks are completed with more work. "
        "Speakers of Spanish get the worst of it (56% bad) and leave after the second bad answer.",
        "says": "`better` on `latency_p95` and `cost_per_session`, `worse` on `rephrase_rate`, nothing on "
        "`task_completion`; the rephrase guardrail is breached and a rollback is due. `abandonment_rate` is `worse` in "
        "the slice language = es.",
        "verdicts": {
            ("task_completion", "treatment", "all", "all"): "inconclusive",
            ("rephrase_rate", "treatment", "all", "all"): "worse",
            ("latency_p95", "treatment", "all", "all"): "better",
            ("cost_per_session", "treatment", "all", "all"): "better",
            ("abandonment_rate", "treatment", "language", "es"): "worse",
        },
        "srm": "pass",
    },
    "source_links": {
        "planted": "No effect, but the new component forgets to log: no turn of about one treated user in six reaches "
        "the traces (half of those with a slow Android phone). Exposures and outcomes are all there.",
        "says": "The units split as planned, but `srm_trace_join` fails: what is measured on turns and sessions is of "
        "different people in the two arms.",
        "verdicts": {("task_completion", "treatment", "all", "all"): "inconclusive"},
        "srm": "pass",
    },
}

# Rows of dirt at the default size; other sizes have their share of it. Every one is an extra row, so that a world
# without dirt has the same results; except the faults of traces, which are in rows that are otherwise right.
DIRT = {
    "exposures_repeated": (36, "exposures", "an exposure repeated exactly"),
    "exposures_second_arm": (16, "exposures", "a user of sidebar_redesign seen in the other arm as well (a unit each)"),
    "exposures_null_unit": (12, "exposures", "unit_id is null"),
    "exposures_unknown_variation": (9, "exposures", "a variation that the registry does not know (treatment_v1)"),
    "exposures_shadow": (60, "exposures", "exposure_kind is shadow: computed, not shown"),
    "outcomes_repeated": (45, "outcomes", "the same outcome_id again, loaded later"),
    "outcomes_null_unit": (8, "outcomes", "unit_id is null"),
    "outcomes_null_time": (6, "outcomes", "occurred_at is null"),
    "outcomes_null_event": (4, "outcomes", "event_name is null"),
    "outcomes_nan_value": (5, "outcomes", "value is NaN"),
    "traces_repeated": (40, "traces", "the same trace_id again, loaded later"),
    "traces_null_unit": (9, "traces", "unit_id is null"),
    "traces_null_time": (6, "traces", "started_at is null"),
    "traces_null_id": (5, "traces", "trace_id is null"),
    "traces_end_before_start": (14, "traces", "ended_at is before started_at: the clocks disagree"),
    "traces_in_seconds": (60, "traces", "a batch whose latency_ms and ttft_ms are in seconds"),
    "traces_negative_latency": (8, "traces", "latency_ms is negative"),
    "traces_twelve_hours": (7, "traces", "ended_at and latency_ms say that the answer took twelve hours"),
    "traces_unknown_status": (10, "traces", "status is a word that nobody knows (partial)"),
}

SCHEMAS = {
    "exposures": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("variation_id", pa.string()),
            ("unit_id", pa.string()),
            ("exposed_at", pa.timestamp("us")),
            ("cluster_id", pa.string()),
            ("exposure_kind", pa.string()),
            ("session_id", pa.string()),
            ("country", pa.string()),
            ("device", pa.string()),
            ("language", pa.string()),
            ("loaded_at", pa.timestamp("us")),
        ]
    ),
    "outcomes": pa.schema(
        [
            ("outcome_id", pa.string()),
            ("unit_id", pa.string()),
            ("event_name", pa.string()),
            ("occurred_at", pa.timestamp("us")),
            ("value", pa.float64()),
            ("session_id", pa.string()),
            ("trace_id", pa.string()),
            ("actor", pa.string()),
            ("loaded_at", pa.timestamp("us")),
        ]
    ),
    "experiments": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("control_variation_id", pa.string()),
            ("started_at", pa.timestamp("us")),
            ("ended_at", pa.timestamp("us")),
            ("stage", pa.string()),
            ("alpha", pa.float64()),
            ("planned_units", pa.int64()),
            ("planned_looks", pa.int64()),
            ("registered_at", pa.timestamp("us")),
        ]
    ),
    "experiment_variations": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("variation_id", pa.string()),
            ("is_control", pa.bool_()),
            ("expected_weight", pa.float64()),
            ("model_version", pa.string()),
            ("prompt_version", pa.string()),
        ]
    ),
    "experiment_phases": pa.schema(
        [
            ("experiment_id", pa.string()),
            ("phase_started_at", pa.timestamp("us")),
            ("variation_id", pa.string()),
            ("expected_weight", pa.float64()),
        ]
    ),
    "traces": pa.schema(
        [
            ("trace_id", pa.string()),
            ("unit_id", pa.string()),
            ("session_id", pa.string()),
            ("turn_index", pa.int64()),
            ("started_at", pa.timestamp("us")),
            ("ended_at", pa.timestamp("us")),
            ("latency_ms", pa.float64()),
            ("ttft_ms", pa.float64()),
            ("input_text", pa.string()),
            ("output_text", pa.string()),
            ("input_chars", pa.int64()),
            ("output_chars", pa.int64()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("cost_usd", pa.float64()),
            ("provider", pa.string()),
            ("model_version", pa.string()),
            ("prompt_version", pa.string()),
            ("status", pa.string()),
            ("error_type", pa.string()),
            ("finish_reason", pa.string()),
            ("surface", pa.string()),
            ("render_limit_chars", pa.int64()),
            ("country", pa.string()),
            ("device", pa.string()),
            ("language", pa.string()),
            ("query_category", pa.string()),
            ("is_shadow", pa.bool_()),
            ("shadow_of_trace_id", pa.string()),
            ("sample_weight", pa.float64()),
            ("loaded_at", pa.timestamp("us")),
        ]
    ),
    "evaluation_scores": pa.schema(
        [
            ("score_id", pa.string()),
            ("stage", pa.string()),
            ("evaluator_kind", pa.string()),
            ("metric_name", pa.string()),
            ("score", pa.float64()),
            ("evaluated_at", pa.timestamp("us")),
            ("trace_id", pa.string()),
            ("model_version", pa.string()),
            ("evaluator_id", pa.string()),
            ("rubric_version", pa.string()),
            ("sampling_probability", pa.float64()),
            ("label", pa.string()),
        ]
    ),
    "ticket_predictions": pa.schema(
        [
            ("ticket_id", pa.string()),
            ("customer_id", pa.string()),
            ("predicted_at", pa.timestamp("us")),
            ("ticket_chars", pa.int64()),
            ("language", pa.string()),
            ("channel", pa.string()),
            ("product_area", pa.string()),
            ("predicted_queue", pa.string()),
            ("confidence", pa.float64()),
            ("model_version", pa.string()),
            ("correct_queue", pa.string()),
            ("labelled_at", pa.timestamp("us")),
        ]
    ),
}


class Draws:
    """Named, independent streams of random numbers for one batch of users."""

    def __init__(self, seed: int, batch: int) -> None:
        self.seed = seed
        self.batch = batch

    def uniform(self, name: str, shape: int | tuple[int, ...]) -> np.ndarray:
        """Uniforms strictly between 0 and 1."""
        size = int(np.prod(shape))
        sequence = np.random.SeedSequence([self.seed, self.batch, zlib.crc32(name.encode())])
        bits = np.random.PCG64(sequence).random_raw(size)
        return (((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)

    def normal(self, name: str, size: int) -> np.ndarray:
        """Standard normals (Box and Muller)."""
        radius = np.sqrt(-2.0 * np.log(self.uniform(name + "/radius", size)))
        return radius * np.cos(2.0 * np.pi * self.uniform(name + "/angle", size))

    def choice(self, name: str, size: int, weights: list[float]) -> np.ndarray:
        edges = np.cumsum(weights) / np.sum(weights)
        return np.minimum(np.searchsorted(edges, self.uniform(name, size)), len(weights) - 1)

    def pick(self, name: str, candidates: np.ndarray, count: int) -> np.ndarray:
        """`count` of the candidates without replacement, in their own order."""
        if count > len(candidates):
            raise SystemExit(f"generate_world: cannot plant {count} {name} among {len(candidates)}; use more --users")
        order = np.argsort(self.uniform(name, len(candidates)), kind="stable")
        return np.sort(candidates[order[:count]])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


@dataclass
class Users:
    first_index: int
    country: np.ndarray
    language: np.ndarray
    device: np.ndarray
    utc_offset: np.ndarray
    organisation: np.ndarray
    organisation_arm: np.ndarray
    daily_rate: np.ndarray
    skill: np.ndarray
    is_slow: np.ndarray

    @property
    def count(self) -> int:
        return len(self.skill)


def make_users(draws: Draws, population: Population, first_index: int, count: int) -> Users:
    locale = draws.choice("locale", count, list(population.locale_shares) or [row[2] for row in LOCALES])
    device = draws.choice("device", count, [row[1] for row in DEVICES])
    devices = np.array([row[0] for row in DEVICES])[device]
    is_slow = (devices == "android") & (draws.uniform("slow", count) < SLOW_SHARE_OF_ANDROID)

    organisations = max(2, count // 11)
    in_organisation = draws.uniform("in_organisation", count) < 0.62
    organisation = np.floor(organisations * draws.uniform("organisation", count) ** 1.3).astype(np.int64)
    organisation = np.where(in_organisation, organisation, -1)
    # Pairs of organisations of like size, one of each pair treated: both arms get as many users.
    size = np.bincount(organisation[in_organisation], minlength=organisations)
    by_size = np.argsort(-size, kind="stable")
    flip = draws.uniform("organisation_flip", (organisations + 1) // 2) < 0.5
    arm = np.empty(organisations, dtype=np.int64)
    arm[by_size] = (np.arange(organisations) % 2) ^ np.repeat(flip, 2)[:organisations]
    organisation_skill = 0.8 * draws.normal("organisation_skill", organisations)

    skill = draws.normal("skill", count)
    skill = skill + np.where(in_organisation, organisation_skill[organisation], 0.0)
    return Users(
        first_index=first_index,
        country=np.array([row[0] for row in LOCALES])[locale],
        language=np.array([row[1] for row in LOCALES])[locale],
        device=devices,
        utc_offset=np.array([row[3] for row in LOCALES])[locale],
        organisation=organisation,
        organisation_arm=np.where(in_organisation, arm[organisation], -1),
        daily_rate=population.daily_rate * np.exp(population.activity_spread * draws.normal("activity", count)),
        skill=skill,
        is_slow=is_slow,
    )


@dataclass
class Sessions:
    user: np.ndarray
    start: np.ndarray
    duration: np.ndarray
    is_return: np.ndarray


def make_sessions(draws: Draws, population: Population, users: Users) -> Sessions:
    """At most one session a day and user, sorted by user and time. Times are seconds since the world began."""
    end = WORLD_DAYS * DAY + population.hours_after_last_day * HOUR
    if population.comes_once_from is not None:
        days = WORLD_DAYS + 1 - population.comes_once_from
        user = np.arange(users.count)
        day = population.comes_once_from + np.floor(days * draws.uniform("visits", users.count)).astype(np.int64)
    else:
        factor = np.array([WEEKDAY_FACTOR[day % 7] for day in range(WORLD_DAYS)])
        chance = 1.0 - np.exp(-users.daily_rate[:, None] * factor[None, :])
        user, day = np.nonzero(draws.uniform("visits", (users.count, WORLD_DAYS)) < chance)
    daytime = draws.uniform("daytime_a", len(user)) + draws.uniform("daytime_b", len(user))
    local = day * DAY + np.floor((7.0 + 8.0 * daytime) * HOUR)
    start = (local - users.utc_offset[user] * HOUR).astype(np.int64)
    duration = np.ceil(45.0 + 200.0 * np.exp(0.8 * draws.normal("duration", len(user)))).astype(np.int64)
    inside = (start >= population.comes_from * DAY) & (start + duration < end)
    user, start, duration = user[inside], start[inside], duration[inside]
    if population.late_sessions:
        last_start = np.full(users.count, -1)
        np.maximum.at(last_start, user, start)
        asleep = np.flatnonzero(last_start < end - DAY)
        late = draws.pick("late_sessions", asleep, round(population.late_sessions * users.count / population.size))
        user = np.concatenate([user, late])
        ago = np.floor(45 + 1800 * draws.uniform("late_sessions/ago", len(late))).astype(np.int64)
        start = np.concatenate([start, end - ago])
        duration = np.concatenate([duration, np.full(len(late), 40)])
        order = np.lexsort((start, user))
        user, start, duration = user[order], start[order], duration[order]
    is_return = np.concatenate([[False], user[1:] == user[:-1]]) if len(user) else np.zeros(0, dtype=bool)
    return Sessions(user, start, duration, is_return)


def assign(draws: Draws, users: Users, experiment: Experiment, first_start: np.ndarray) -> np.ndarray:
    """The arm of every user: an index into experiment.arms, by the split in force when he first came."""
    if experiment.by_organisation:
        return users.organisation_arm.copy()
    u = draws.uniform(experiment.experiment_id + "/arm", users.count)
    phases = experiment.ramp or ((experiment.start_day, experiment.arms),)
    arm = np.zeros(users.count, dtype=np.int64)
    for phase_start, weights in phases:
        # The last arm is counted from 0, so that a ramp only ever adds users to it.
        shares = np.array(list(weights.values()))[::-1]
        drawn = len(shares) - 1 - np.minimum(np.searchsorted(np.cumsum(shares), u), len(shares) - 1)
        arm = np.where(first_start >= phase_start * DAY, drawn, arm)
    return arm


@dataclass
class Acting:
    """What an experiment does in each session: which arm acts (-1: none), and with what share of its effect."""

    experiment: Experiment
    arm: np.ndarray
    strength: np.ndarray


def make_exposures(draws: Draws, population: Population, users: Users, sessions: Sessions) -> tuple[dict, list[Acting]]:
    """Logged exposures as columns of indices, and what the population's experiments do in its sessions."""
    rows: list[dict] = []
    acting = []
    for index, experiment in enumerate(EXPERIMENTS):
        if experiment.population != population.name:
            continue
        start, end = int(experiment.start_day * DAY), int(experiment.end_day * DAY)
        eligible = np.isin(users.device, experiment.devices)
        if experiment.by_organisation:
            eligible &= users.organisation >= 0
        in_window = (sessions.start >= start) & (sessions.start < end - HOUR) & eligible[sessions.user]
        where = np.nonzero(in_window)[0]
        exposed_users, first = np.unique(sessions.user[where], return_index=True)
        first_session = where[first]
        first_start = np.full(users.count, np.iinfo(np.int64).max)
        first_start[exposed_users] = sessions.start[first_session]
        arm = assign(draws, users, experiment, first_start)
        is_acting = (sessions.start >= first_start[sessions.user]) & (sessions.start < end)
        strength = np.ones(len(sessions.user))
        if experiment.fades_in_days:
            age = np.where(is_acting, (sessions.start - first_start[sessions.user]) / DAY, 0.0)
            strength = np.maximum(0.0, 1.0 - age / experiment.fades_in_days)
        acting.append(Acting(experiment, np.where(is_acting, arm[sessions.user], -1), strength))

        is_first = np.zeros(len(sessions.user), dtype=bool)
        is_first[first_session] = True
        again = draws.uniform(experiment.experiment_id + "/again", len(sessions.user)) < RE_EXPOSURE_SHARE
        logged = in_window & (is_first | again)
        if experiment.loses_slow_phones:
            lost = users.is_slow & (arm == 1)
            logged &= ~lost[sessions.user]
        at = np.nonzero(logged)[0]
        delay = 2 + np.floor(25.0 * draws.uniform(experiment.experiment_id + "/delay", len(sessions.user)))
        rows.append(
            {
                "experiment": np.full(len(at), index),
                "arm": arm[sessions.user[at]],
                "user": sessions.user[at],
                "session": at,
                "time": sessions.start[at] + delay[at].astype(np.int64),
                "is_first": is_first[at],
            }
        )
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}, acting


def session_shift(event: str, users: Users, sessions: Sessions, acting: list[Acting]) -> np.ndarray:
    """Sum over the experiments of the shift of the event's log-odds in each session."""
    shift = np.zeros(len(sessions.user))
    is_harmed = users.language[sessions.user] == HARMED_LANGUAGE
    for act in acting:
        for arm_index, arm in enumerate(act.experiment.arms):
            effect = act.experiment.effects.get(arm, {}).get(event, 0.0)
            harmed = act.experiment.harmed_effects.get(arm, {}).get(event, effect)
            if effect or harmed:
                shift += np.where(act.arm == arm_index, np.where(is_harmed, harmed, effect) * act.strength, 0.0)
    return shift


def make_outcomes(draws: Draws, population: Population, users: Users, sessions: Sessions, acting: list[Acting]) -> dict:
    count = len(sessions.user)
    skill = users.skill[sessions.user]
    slow = users.is_slow[sessions.user]
    parts = []
    for event, (level, of_skill, of_slow) in population.log_odds.items():
        odds = level + of_skill * skill + of_slow * slow + population.drift.get(event, 0.0) * sessions.start / DAY
        chance = sigmoid(odds + session_shift(event, users, sessions, acting))
        at = np.nonzero(draws.uniform(event, count) < chance)[0]
        place = draws.uniform(event + "/place", count)[at]
        value = np.full(len(at), np.nan)
        actor = np.zeros(len(at), dtype=np.int64)
        if event == "session_end":
            place = np.ones(len(at))
            value = sessions.duration[at].astype(np.float64)
        elif event == "rating":
            mood = 3.6 + 0.6 * skill[at] + 0.9 * draws.normal("mood", count)[at]
            mood = mood + session_shift("stars", users, sessions, acting)[at]
            value = np.clip(np.floor(mood + 0.5), 1, 5)
        elif event == "conversion":
            value = np.round(12.0 * np.exp(1.1 * draws.normal("revenue", count)[at]), 2)
        elif event == "escalation":
            actor = (draws.uniform("escalation/actor", count)[at] < 0.3).astype(np.int64)
        offset = 30 + np.floor(place * (sessions.duration[at] - 30))
        parts.append((event, at, sessions.start[at] + offset.astype(np.int64), value, actor))
    returns = np.nonzero(sessions.is_return & population.logs_return_visits)[0]
    nothing = np.full(len(returns), np.nan)
    parts.append(("return_visit", returns, sessions.start[returns], nothing, np.zeros(len(returns), dtype=np.int64)))
    session = np.concatenate([part[1] for part in parts])
    return {
        "event": np.concatenate([np.full(len(part[1]), part[0]) for part in parts]),
        "session": session,
        "user": sessions.user[session],
        "time": np.concatenate([part[2] for part in parts]),
        "value": np.concatenate([part[3] for part in parts]),
        "actor": np.concatenate([part[4] for part in parts]),
        "trace": np.full(len(session), -1),
    }


def loading_time(draws: Draws, name: str, times: np.ndarray) -> np.ndarray:
    """The hourly load after the event; one row in a hundred comes up to two days late."""
    late = draws.uniform(name + "/is_late", len(times)) < 0.01
    delay = np.where(late, np.floor(48.0 * draws.uniform(name + "/late", len(times))), 0.0).astype(np.int64)
    return (times // HOUR + 1 + delay) * HOUR


def share(key: str, users: int, of: int = DEFAULT_USERS) -> int:
    return round(DIRT[key][0] * users / of)


def concat(rows: dict, extra: dict) -> dict:
    return {key: np.concatenate([rows[key], extra[key]]) for key in rows}


def take(rows: dict, at: np.ndarray, **changes: np.ndarray) -> dict:
    return {key: values[at].copy() for key, values in rows.items()} | changes


def by_loading(rows: dict) -> dict:
    """The rows in the order in which a warehouse gets them."""
    return take(rows, np.lexsort((np.arange(len(rows["user"])), rows["time"], rows["loaded"])))


def loaded_exposures(draws: Draws, rows: dict) -> dict:
    """Add what logging adds. `kind`: 0 served (written as null), 1 shadow; `attributes`: whose they are."""
    return rows | {
        "kind": np.zeros(len(rows["user"]), dtype=np.int64),
        "attributes": rows["user"].copy(),
        "loaded": loading_time(draws, "exposures", rows["time"]),
    }


def loaded_outcomes(draws: Draws, rows: dict) -> dict:
    return rows | {
        "outcome": np.arange(len(rows["user"])),
        "is_nan": np.zeros(len(rows["user"]), dtype=bool),
        "loaded": loading_time(draws, "outcomes", rows["time"]),
    }


def dirty_exposures(draws: Draws, users: Users, sessions: Sessions, rows: dict, planted: dict) -> dict:
    """Add the planted dirt. An arm of -1 is unknown, a user of -1 null."""
    clean = rows
    everyone = np.arange(len(rows["user"]))
    ids = [experiment.experiment_id for experiment in EXPERIMENTS]
    counts = {key: share(key, users.count) for key in DIRT if key.startswith("exposures")}

    at = draws.pick("exposures_repeated", everyone, counts["exposures_repeated"])
    rows = concat(rows, take(clean, at))

    unstable = ids.index(UNSTABLE_BUCKETS_IN)
    last = int((EXPERIMENTS[unstable].end_day - 4) * DAY)
    candidates = np.nonzero((clean["experiment"] == unstable) & clean["is_first"] & (clean["time"] < last))[0]
    arms = [candidates[clean["arm"][candidates] == arm] for arm in (0, 1)]
    half = counts["exposures_second_arm"] // 2
    at = np.concatenate(
        [
            draws.pick("exposures_second_arm/0", arms[0], counts["exposures_second_arm"] - half),
            draws.pick("exposures_second_arm/1", arms[1], half),
        ]
    )
    later = clean["time"][at] + DAY + np.floor(2 * DAY * draws.uniform("later", len(at))).astype(np.int64)
    rows = concat(
        rows,
        take(clean, at, arm=1 - clean["arm"][at], time=later, loaded=(later // HOUR + 1) * HOUR, session=0 * at - 1),
    )

    at = draws.pick("exposures_null_unit", everyone, counts["exposures_null_unit"])
    rows = concat(rows, take(clean, at, user=0 * at - 1))

    warmed = ids.index(WARMED_UP_IN_SHADOW)
    candidates = np.nonzero(clean["experiment"] == warmed)[0]
    at = draws.pick("exposures_unknown_variation", candidates, counts["exposures_unknown_variation"])
    rows = concat(rows, take(clean, at, arm=0 * at - 1, user=-2 - np.arange(len(at)), session=0 * at - 1))

    begin, end = (int(day * DAY) for day in SHADOW_DAYS)
    candidates = np.nonzero((sessions.start >= begin) & (sessions.start < end))[0]
    at = draws.pick("exposures_shadow", candidates, counts["exposures_shadow"])
    times = sessions.start[at] + 1
    one = np.ones(len(at), dtype=np.int64)
    rows = concat(
        rows,
        {
            "experiment": warmed * one,
            "arm": one,
            "user": sessions.user[at],
            "session": at,
            "time": times,
            "is_first": np.zeros(len(at), dtype=bool),
            "kind": one,
            "attributes": sessions.user[at],
            "loaded": (times // HOUR + 1) * HOUR,
        },
    )
    for key, count in counts.items():
        planted[key] = planted.get(key, 0) + count
    return rows


def dirty_outcomes(draws: Draws, users: Users, rows: dict, planted: dict) -> dict:
    """Add the planted dirt. user -1, time -1 and event '' are null; a value that is NaN is null unless is_nan."""
    total = len(rows["user"])
    clean = rows
    everyone = np.arange(total)
    counts = {key: share(key, users.count) for key in DIRT if key.startswith("outcomes")}

    at = draws.pick("outcomes_repeated", everyone, counts["outcomes_repeated"])
    wait = 1 + np.floor(30.0 * draws.uniform("outcomes_repeated/wait", len(at))).astype(np.int64)
    rows = concat(rows, take(clean, at, loaded=clean["loaded"][at] + wait * HOUR))

    next_outcome = total
    priced = np.nonzero(np.isin(clean["event"], ["conversion", "rating"]))[0]
    changes = {
        "outcomes_null_unit": (everyone, lambda at: {"user": 0 * at - 1}),
        "outcomes_null_time": (everyone, lambda at: {"time": 0 * at - 1}),
        "outcomes_null_event": (everyone, lambda at: {"event": np.full(len(at), "")}),
        "outcomes_nan_value": (priced, lambda at: {"value": at * np.nan, "is_nan": at >= 0}),
    }
    for key, (candidates, change) in changes.items():
        at = draws.pick(key, candidates, counts[key])
        rows = concat(rows, take(clean, at, outcome=next_outcome + np.arange(len(at)), **change(at)))
        next_outcome += len(at)
    for key, count in counts.items():
        planted[key] = planted.get(key, 0) + count
    return rows


def make_turns(draws: Draws, population: Population, users: Users, sessions: Sessions, acting: list[Acting]) -> dict:
    """What was said and answered in the sessions. A turn that is lost happened, but was not logged."""
    versions = list(talk.MODELS)
    model = np.full(len(sessions.user), versions.index(talk.DEFAULT_MODEL))
    prompt = np.full(len(sessions.user), "p1", dtype=object)
    is_lost = np.zeros(users.count, dtype=bool)
    for act in acting:
        for index, arm in enumerate(act.experiment.arms):
            is_in = act.arm == index
            model = np.where(is_in, versions.index(act.experiment.models[arm]), model)
            if index:
                prompt[is_in] = prompt_version(act.experiment, arm)
        if act.experiment.loses_traces:
            treated = np.unique(sessions.user[act.arm == 1])
            is_lost[treated] = users.is_slow[treated] & (draws.uniform("lost", users.count)[treated] < 0.5)
    end = WORLD_DAYS * DAY + population.hours_after_last_day * HOUR
    turns = talk.converse(draws, users, sessions, model, end)
    turns["prompt"] = prompt[turns["session"]]
    turns["is_lost"] = is_lost[turns["user"]]
    return turns


def prompt_version(experiment: Experiment, arm: str) -> str:
    return f"p1-{experiment.experiment_id}-{arm}"


def logged_traces(draws: Draws, turns: dict) -> dict:
    """The turns that were logged, and the shadow answers of a candidate to some of them. A number below 0 is null."""
    total = len(turns["session"])
    rows = {
        key: turns[key]
        for key in (
            *("session", "user", "step", "model", "prompt", "status", "latency", "ttft", "text", "category"),
            *("input_chars", "output_chars", "input_tokens", "output_tokens", "cost", "is_narrow", "has_text"),
            *("has_session", "is_empty", "loaded", "start"),
        )
    }
    rows |= {
        "trace": np.arange(total),
        "ended": turns["finish"],
        "latency": turns["latency"].astype(np.float64),
        "ttft": np.where(turns["ttft"] < 0, np.nan, turns["ttft"]),
        "shadow_of": np.full(total, -1),
        "is_known_status": np.ones(total, dtype=bool),
        "is_last": turns["is_last"],
    }
    rows = take(rows, np.flatnonzero(~turns["is_lost"]))
    is_mirrored = draws.uniform("shadow", total)[rows["trace"]] < talk.SHADOWED_SHARE
    at = np.flatnonzero(is_mirrored & (rows["start"] >= talk.SHADOWED_FROM_DAY * DAY) & (rows["status"] == 0))
    candidate = talk.MODELS[talk.CANDIDATE]
    spread = np.exp(candidate.latency_spread * draws.normal("shadow/latency", len(at)))
    latency = np.round(candidate.latency_ms * spread)
    length = np.exp(0.6 * draws.normal("shadow/length", len(at)))
    shadows = take(
        rows,
        at,
        model=np.full(len(at), list(talk.MODELS).index(talk.CANDIDATE)),
        prompt=np.full(len(at), "p1", dtype=object),
        latency=latency,
        ttft=np.round(0.25 * latency),
        ended=rows["start"][at] + np.rint(latency / 1000.0).astype(np.int64),
        output_chars=np.round(candidate.output_chars * length).astype(np.int64),
        output_tokens=np.round(candidate.output_chars * length / 4).astype(np.int64),
        shadow_of=rows["trace"][at],
        trace=total + np.arange(len(at)),
    )
    shadows["is_empty"] = shadows["output_chars"] == 0
    return concat(rows, shadows)


def dirty_traces(draws: Draws, population: Population, users: Users, rows: dict, planted: dict) -> dict:
    """Add the planted dirt: first the faults of rows that are otherwise right, then rows that must be dropped."""
    counts = {key: share(key, users.count, population.size) for key in DIRT if key.startswith("traces")}
    rows = {key: values.copy() for key, values in rows.items()}
    is_sound = (rows["shadow_of"] < 0) & (rows["status"] == 0) & (rows["start"] < (WORLD_DAYS - 2) * DAY)

    def pick(key: str, candidates: np.ndarray) -> np.ndarray:
        at = draws.pick(key, np.flatnonzero(candidates & is_sound), counts[key])
        is_sound[at] = False
        return at

    start, latency = rows["start"], rows["latency"]
    at = pick("traces_in_seconds", (start // DAY == talk.SECONDS_DAY) & (latency >= 2000))
    rows["latency"][at], rows["ttft"][at] = latency[at] / 1000.0, rows["ttft"][at] / 1000.0
    at = pick("traces_end_before_start", latency >= 0)
    back = 5 + np.floor(900 * draws.uniform("traces_end_before_start/by", len(at))).astype(np.int64)
    rows["ended"][at] = start[at] - back
    at = pick("traces_negative_latency", latency >= 2000)
    rows["latency"][at] = -latency[at]
    at = pick("traces_twelve_hours", rows["is_last"])
    rows["latency"][at], rows["ended"][at] = 43_197_000.0, start[at] + 43_197
    at = pick("traces_unknown_status", latency >= 0)
    rows["is_known_status"][at] = False

    clean = rows
    last = int(rows["trace"].max(initial=-1))
    everyone = rows["shadow_of"] < 0
    at = pick("traces_repeated", everyone)
    wait = 1 + np.floor(30.0 * draws.uniform("traces_repeated/wait", len(at))).astype(np.int64)
    rows = concat(rows, take(clean, at, loaded=clean["loaded"][at] + wait * HOUR))
    for key, column in (("traces_null_unit", "user"), ("traces_null_time", "start"), ("traces_null_id", "trace")):
        at = pick(key, everyone)
        fresh = {"trace": last + 1 + np.arange(len(at))} | {column: np.full(len(at), -1)}
        rows = concat(rows, take(clean, at, **fresh))
        last += len(at)
    for key, count in counts.items():
        planted[key] = planted.get(key, 0) + count
    return rows


def names(prefix: str, numbers: np.ndarray, width: int) -> pa.Array:
    """Identifiers such as u00042; a negative number is null."""
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers, mask=numbers < 0), pa.string()), width, padding="0")
    return pc.binary_join_element_wise(prefix, digits, "")


def labels(choices: list, index: np.ndarray) -> pa.Array:
    return pc.take(pa.array(choices, pa.string()), pa.array(index, mask=index < 0))


def text(values: np.ndarray) -> pa.Array:
    """Strings of a numpy array; the empty string is null."""
    array = pa.array(values.tolist(), pa.string())
    return pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)


def moments(seconds: np.ndarray, start: str = WORLD_START) -> pa.Array:
    """Seconds since the world began as timestamps; a negative one is null."""
    stamps = np.datetime64(start, "us") + seconds.astype("timedelta64[s]")
    return pa.array(stamps, pa.timestamp("us"), mask=seconds < 0)


def exposure_table(users: Users, rows: dict, first_session: int) -> pa.Table:
    arms = [[*experiment.arms, "treatment_v1"] for experiment in EXPERIMENTS]
    flat = [arm for group in arms for arm in group]
    first = np.cumsum([0] + [len(group) for group in arms])
    unknown = rows["arm"] < 0
    arm = np.where(unknown, np.array([len(group) - 1 for group in arms])[rows["experiment"]], rows["arm"])
    is_clustered = np.array([experiment.by_organisation for experiment in EXPERIMENTS])[rows["experiment"]]
    organisation = np.where(is_clustered, users.organisation[rows["attributes"]], -1)
    # Organisations of different batches are different organisations.
    organisation = np.where(organisation < 0, -1, organisation + users.first_index)
    person = names("u", np.where(rows["user"] >= 0, rows["user"] + users.first_index + 1, -1), 5)
    tester = names("qa", np.where(rows["user"] <= -2, users.first_index - 1 - rows["user"], -1), 3)
    columns = {
        "experiment_id": labels([experiment.experiment_id for experiment in EXPERIMENTS], rows["experiment"]),
        "variation_id": labels(flat, first[rows["experiment"]] + arm),
        "unit_id": pc.coalesce(person, tester),
        "exposed_at": moments(rows["time"]),
        "cluster_id": names("org", organisation, 3),
        "exposure_kind": labels(["shadow"], rows["kind"] - 1),
        "session_id": names("s", np.where(rows["session"] >= 0, rows["session"] + first_session, -1), 5),
        "country": text(users.country[rows["attributes"]]),
        "device": text(users.device[rows["attributes"]]),
        "language": text(users.language[rows["attributes"]]),
        "loaded_at": moments(rows["loaded"]),
    }
    return pa.table(columns, schema=SCHEMAS["exposures"])


def outcome_table(users: Users, rows: dict, first_session: int, first_outcome: int, first_trace: int) -> pa.Table:
    is_null = np.isnan(rows["value"]) & ~rows["is_nan"]
    columns = {
        "outcome_id": names("o", rows["outcome"] + first_outcome, 6),
        "unit_id": names("u", np.where(rows["user"] >= 0, rows["user"] + users.first_index + 1, -1), 5),
        "event_name": text(rows["event"]),
        "occurred_at": moments(rows["time"]),
        "value": pa.array(rows["value"], pa.float64(), mask=is_null, from_pandas=False),
        "session_id": names("s", np.where(rows["session"] >= 0, rows["session"] + first_session, -1), 5),
        "trace_id": names("t", np.where(rows["trace"] >= 0, rows["trace"] + first_trace, -1), 5),
        "actor": labels(["user", "assistant", "agent"], rows["actor"]),
        "loaded_at": moments(rows["loaded"]),
    }
    return pa.table(columns, schema=SCHEMAS["outcomes"])


def trace_table(users: Users, rows: dict, first_session: int, first_trace: int) -> pa.Table:
    status = rows["status"]
    words = np.array(talk.STATUSES)[status]
    is_refused, is_failed = words == "refusal", (words == "error") | (words == "timeout")
    is_widget = rows["is_narrow"]
    device = users.device[rows["owner"]]
    error = np.where(rows["trace"] % 3 == 0, "rate_limited", "server_error")
    error = np.where(words == "timeout", "upstream_timeout", np.where(words == "error", error, ""))
    finish = np.where(is_refused, "content_filter", np.where(rows["output_chars"] > 1800, "length", "stop"))
    finish = np.where(is_failed, "error", np.where(words == "cancelled", "cancelled", finish))
    is_shadow = rows["shadow_of"] >= 0
    one = np.ones(len(status), dtype=np.int64)
    columns = {
        "trace_id": names("t", np.where(rows["trace"] >= 0, rows["trace"] + first_trace, -1), 5),
        "unit_id": names("u", np.where(rows["user"] >= 0, rows["user"] + users.first_index + 1, -1), 5),
        "session_id": names("s", np.where(rows["has_session"], rows["session"] + first_session, -1), 5),
        "turn_index": pa.array(rows["step"] + 1, pa.int64()),
        "started_at": moments(rows["start"]),
        "ended_at": moments(rows["ended"]),
        "latency_ms": pa.array(rows["latency"], pa.float64()),
        "ttft_ms": pa.array(rows["ttft"], pa.float64(), mask=np.isnan(rows["ttft"])),
        "input_text": text(np.where(rows["has_text"], rows["text"], "")),
        "output_text": text(np.where(is_refused & rows["has_text"], talk.REFUSAL, "")),
        "input_chars": pa.array(rows["input_chars"], pa.int64()),
        "output_chars": pa.array(rows["output_chars"], pa.int64()),
        "input_tokens": pa.array(rows["input_tokens"], pa.int64()),
        "output_tokens": pa.array(rows["output_tokens"], pa.int64()),
        "cost_usd": pa.array(rows["cost"], pa.float64()),
        "provider": labels(["own"], 0 * one),
        "model_version": labels(list(talk.MODELS), rows["model"]),
        "prompt_version": text(rows["prompt"]),
        "status": text(np.where(rows["is_known_status"], words, "partial")),
        "error_type": text(error),
        "finish_reason": text(finish),
        "surface": text(np.where(is_widget, talk.NARROW_SURFACE, np.where(device == "web", "web", "app"))),
        "render_limit_chars": pa.array(talk.NARROW_LIMIT * one, pa.int64(), mask=~is_widget),
        "country": text(users.country[rows["owner"]]),
        "device": text(device),
        "language": text(users.language[rows["owner"]]),
        "query_category": text(rows["category"]),
        "is_shadow": pa.array(is_shadow, pa.bool_()),
        "shadow_of_trace_id": names("t", np.where(is_shadow, rows["shadow_of"] + first_trace, -1), 5),
        "sample_weight": pa.array(talk.NARROW_WEIGHT * one, pa.float64(), mask=~is_widget),
        "loaded_at": moments(rows["loaded"]),
    }
    return pa.table(columns, schema=SCHEMAS["traces"])


def score_table(turns: dict, rows: dict, first_trace: int, first_score: int) -> pa.Table:
    is_human = rows["is_human"]
    count = len(is_human)
    helpful = np.where(rows["score"] >= 0.5, "helpful", "not helpful")
    columns = {
        "score_id": names("h", np.arange(count) + first_score, 4),
        "stage": labels(["online"], np.zeros(count, dtype=np.int64)),
        "evaluator_kind": text(np.where(is_human, "human", "llm_judge")),
        "metric_name": labels(["helpful"], np.zeros(count, dtype=np.int64)),
        "score": pa.array(rows["score"], pa.float64()),
        "evaluated_at": moments(rows["time"]),
        "trace_id": names("t", rows["turn"] + first_trace, 5),
        "model_version": labels(list(talk.MODELS), turns["model"][rows["turn"]]),
        "evaluator_id": text(np.where(is_human, np.array(["ann", "bo", "cy"])[rows["turn"] % 3], "judge-1")),
        "rubric_version": labels(["r1"], np.zeros(count, dtype=np.int64)),
        "sampling_probability": pa.array(np.round(rows["probability"], 4), pa.float64(), mask=~is_human),
        "label": text(np.where(is_human, helpful, "")),
    }
    return pa.table(columns, schema=SCHEMAS["evaluation_scores"])


def ticket_table(rows: dict, first_ticket: int) -> pa.Table:
    count = len(rows["customer"])
    is_labelled = rows["labelled"] >= 0
    columns = {
        "ticket_id": names("k", np.arange(count) + first_ticket, 5),
        "customer_id": names("c", rows["customer"] + 1, 4),
        "predicted_at": moments(rows["second"], router.START),
        "ticket_chars": pa.array(rows["chars"].astype(np.int64)),
        "language": text(rows["language"]),
        "channel": text(rows["channel"]),
        "product_area": labels([area for area, _, _, _ in router.AREAS], rows["area"]),
        "predicted_queue": labels(router.QUEUES, rows["predicted"]),
        "confidence": pa.array(rows["confidence"], pa.float64()),
        "model_version": labels([router.MODEL_VERSION], np.zeros(count, dtype=np.int64)),
        "correct_queue": labels(router.QUEUES, np.where(is_labelled, rows["correct"], -1)),
        "labelled_at": moments(rows["labelled"], router.START),
    }
    return pa.table(columns, schema=SCHEMAS["ticket_predictions"])


def truth_of_turns(users: Users, turns: dict, first_session: int, first_trace: int) -> dict:
    """What is true of each turn: what it is to the turn before it in its session, and whether its answer is good."""
    count = len(turns["session"])
    return {
        "trace_id": names("t", np.arange(count) + first_trace, 5).to_pylist(),
        "unit_id": names("u", turns["user"] + users.first_index + 1, 5).to_pylist(),
        "session": turns["session"] + first_session,
        "step": turns["step"],
        "kind": np.array(talk.KINDS)[turns["kind"]],
        "is_good": turns["is_good"],
        "is_lost": turns["is_lost"],
        "language": users.language[turns["user"]],
        "model_version": np.array(list(talk.MODELS))[turns["model"]],
        "text": turns["text"],
        "gap": turns["gap"],
    }


def day(value: float | None) -> np.datetime64 | None:
    return None if value is None else np.datetime64(WORLD_START, "us") + np.timedelta64(int(value * DAY), "s")


def registry_tables() -> dict[str, pa.Table]:
    experiments, variations, phases = [], [], []
    for experiment in EXPERIMENTS:
        control = next(iter(experiment.arms))
        experiments.append(
            {
                "experiment_id": experiment.experiment_id,
                "control_variation_id": control,
                "started_at": day(experiment.start_day),
                "ended_at": day(experiment.end_day if experiment.end_is_logged else None),
                "stage": experiment.stage,
                "alpha": 0.05,
                "planned_units": experiment.planned_units,
                "planned_looks": experiment.planned_looks,
                "registered_at": day(experiment.start_day - 3.5),
            }
        )
        for arm, weight in experiment.arms.items():
            variations.append(
                {
                    "experiment_id": experiment.experiment_id,
                    "variation_id": arm,
                    "is_control": arm == control,
                    "expected_weight": weight,
                    "model_version": experiment.models.get(arm, "assistant-1"),
                    "prompt_version": "p1" if arm == control else prompt_version(experiment, arm),
                }
            )
        for phase_start, weights in experiment.ramp:
            for arm, weight in weights.items():
                phases.append(
                    {
                        "experiment_id": experiment.experiment_id,
                        "phase_started_at": day(phase_start),
                        "variation_id": arm,
                        "expected_weight": weight,
                    }
                )
    rows = {"experiments": experiments, "experiment_variations": variations, "experiment_phases": phases}
    return {name: pa.Table.from_pylist(table, schema=SCHEMAS[name]) for name, table in rows.items()}


def csv_column(column: pa.ChunkedArray) -> pa.Array:
    """The column as text, null as nothing."""
    column = column.combine_chunks()
    if pa.types.is_timestamp(column.type):
        stamps = column.to_numpy(zero_copy_only=False).astype("datetime64[s]")
        lines = np.char.replace(np.datetime_as_string(stamps), "T", " ")
        return pc.if_else(pc.is_null(column), "", pa.array(lines.tolist(), pa.string()))
    if pa.types.is_floating(column.type):
        return pa.array(["" if x is None else "NaN" if x != x else f"{x:.10g}" for x in column.to_pylist()])
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "true", "false")
    lines = pc.fill_null(pc.cast(column, pa.string()), "")
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(lines, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(lines, '[",\n]'), quoted, lines)


class Writer:
    """One file per table, written batch by batch."""

    def __init__(self, folder: Path, form: str) -> None:
        self.folder = folder
        self.form = form
        self.files: dict = {}
        self.rows: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.{self.form}"

    def write(self, name: str, table: pa.Table) -> None:
        is_new = name not in self.files
        self.rows[name] = self.rows.get(name, 0) + table.num_rows
        if self.form == "parquet":
            if is_new:
                self.files[name] = pq.ParquetWriter(self.path(name), table.schema, compression="zstd")
            self.files[name].write_table(table)
            return
        if is_new:
            self.files[name] = self.path(name).open("w", encoding="utf-8", newline="\n")
            self.files[name].write(",".join(table.column_names) + "\n")
        if table.num_rows:
            lines = pc.binary_join_element_wise(*[csv_column(column) for column in table.columns], ",")
            self.files[name].write("\n".join(lines.to_pylist()) + "\n")

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def generate(
    users: int, seed: int, folder: Path, form: str = "csv", progress: bool = True, truth: list | None = None
) -> dict:
    """Write the raw tables; returns the rows written and the dirt planted. What is true of each turn, and is in no
    table, is appended to `truth`: columns of a batch of people.
    """
    began = time.monotonic()
    writer = Writer(folder, form)
    planted: dict[str, int] = {}
    first_session = first_outcome = first_trace = first_score = 1
    for name, table in registry_tables().items():
        writer.write(name, table)
    batch = first_index = 0
    for population in POPULATIONS:
        left = round(population.size * users / DEFAULT_USERS)
        while left > 0:
            draws = Draws(seed, batch)
            people = make_users(draws, population, first_index, min(BATCH_USERS, left))
            sessions = make_sessions(draws, population, people)
            exposures, acting = make_exposures(draws, population, people, sessions)
            exposures = loaded_exposures(draws, exposures)
            if population.talks:
                turns = make_turns(draws, population, people, sessions, acting)
                end = WORLD_DAYS * DAY + population.hours_after_last_day * HOUR
                outcomes = loaded_outcomes(draws, talk.reactions(draws, turns, end))
                traces = logged_traces(draws, turns)
            else:
                outcomes = loaded_outcomes(draws, make_outcomes(draws, population, people, sessions, acting))
            if population.is_dirty:
                exposures = dirty_exposures(draws, people, sessions, exposures, planted)
                outcomes = dirty_outcomes(draws, people, outcomes, planted)
            writer.write("exposures", exposure_table(people, by_loading(exposures), first_session))
            outcomes_written = outcome_table(people, by_loading(outcomes), first_session, first_outcome, first_trace)
            writer.write("outcomes", outcomes_written)
            if population.talks:
                traces["owner"] = traces["user"].copy()
                if population.is_dirty_in_traces:
                    traces = dirty_traces(draws, population, people, traces, planted)
                traces = take(traces, np.lexsort((traces["trace"], traces["start"], traces["loaded"])))
                writer.write("traces", trace_table(people, traces, first_session, first_trace))
                if population.is_dirty_in_traces:
                    rated = talk.scores(draws, turns, end - 3 * DAY, people.count / population.size)
                    writer.write("evaluation_scores", score_table(turns, rated, first_trace, first_score))
                    first_score += len(rated["turn"])
                if truth is not None:
                    truth.append(truth_of_turns(people, turns, first_session, first_trace))
                first_trace += max(int(traces["trace"].max(initial=-1)) + 1, len(turns["session"]))
            batch += 1
            left -= people.count
            first_index += people.count
            first_session += len(sessions.user)
            first_outcome += int(outcomes["outcome"].max(initial=-1)) + 1
            if progress:
                print(
                    f"{first_index:,} people: {writer.rows['exposures']:,} exposures, "
                    f"{writer.rows['outcomes']:,} outcomes, {time.monotonic() - began:.1f} s",
                    file=sys.stderr,
                )
    write_tickets(writer, seed, users / DEFAULT_USERS)
    writer.close()
    return {"rows": writer.rows, "planted": planted}


def write_tickets(writer: Writer, seed: int, size: float) -> None:
    """The tickets of the router, day by day: another product, with customers of its own."""
    customers = router.make_customers(Draws(seed, 0), size)
    first_ticket = 1
    for number in range(router.DAYS + 1):
        rows = router.tickets_of_day(Draws(seed, number), customers, number, size)
        writer.write("ticket_predictions", ticket_table(rows, first_ticket))
        first_ticket += len(rows["customer"])


def truth_table() -> str:
    lines = ["| experiment | planted | a right analysis says |", "|---|---|---|"]
    lines += [f"| `{name}` | {truth['planted']} | {truth['says']} |" for name, truth in TRUTH.items()]
    return "\n".join(lines)


def drift_truth_table() -> str:
    lines = ["| from | planted | a right analysis says |", "|---|---|---|"]
    for name, truth in router.TRUTH.items():
        since = np.datetime64(router.START) + np.timedelta64(truth["day"], "D")
        lines.append(f"| {since}: {name} | {truth['planted']} | {truth['says']} |")
    return "\n".join(lines)


def dirt_table(world: dict) -> str:
    lines = ["| table | rows | what is wrong |", "|---|---|---|"]
    lines += [f"| {DIRT[key][1]} | {count} | {DIRT[key][2]} |" for key, count in world["planted"].items()]
    return "\n".join(lines)


def rows_table(world: dict) -> str:
    lines = ["| table | rows |", "|---|---|"]
    lines += [f"| {name} | {world['rows'][name]:,} |" for name in SCHEMAS]
    return "\n".join(lines)


def replace_table(document: str, name: str, table: str) -> str:
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    before, rest = document.split(begin)
    return before + begin + "\n" + table + "\n" + end + rest.split(end)[1]


def write_docs(document: str, world: dict) -> str:
    """The document with its generated tables replaced."""
    tables = {
        "rows": rows_table(world),
        "truth": truth_table(),
        "dirt": dirt_table(world),
        "drift truth": drift_truth_table(),
    }
    for name, table in tables.items():
        document = replace_table(document, name, table)
    return document


def positive(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a whole number above 0")
    return int(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--users",
        type=positive,
        default=DEFAULT_USERS,
        help="users; guests and staff in proportion (default: %(default)s)",
    )
    parser.add_argument("--seed", type=positive, default=DEFAULT_SEED, help="random seed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "seeds", help="folder to write to (default: seeds)")
    parser.add_argument("--format", choices=["csv", "parquet"], default="csv", help="file format (default: csv)")
    parser.add_argument("--docs", type=Path, help="a document whose generated tables are brought up to date")
    arguments = parser.parse_args()
    world = generate(arguments.users, arguments.seed, arguments.out, arguments.format)
    if arguments.docs:
        document = write_docs(arguments.docs.read_text(encoding="utf-8"), world)
        arguments.docs.write_text(document, encoding="utf-8")
    for name, count in world["rows"].items():
        print(f"{name}: {count:,} rows")
    for key, count in world["planted"].items():
        print(f"planted {key}: {count:,}")


if __name__ == "__main__":
    main()
