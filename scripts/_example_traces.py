"""The conversations of the example world: turns, the events that follow them and the labels that people gave some.

Whether an answer is good decides what its user does next; the model decides how often it is. What each turn is to the
one before it (a rephrase, an exact retry, a follow-up ...) is kept beside the turns, but not written to the seeds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from _example_texts import REFUSAL, conversation_texts

if TYPE_CHECKING:
    from generate_world import Draws, Sessions, Users

DAY = 86_400
MAX_TURNS = 8
BATCH_LOAD_SECONDS = 600


@dataclass(frozen=True)
class Model:
    """A model that answers: how often its answers are bad, how long they take (median and spread of the logarithm),
    how long they are, what they cost. `bad_share_frustrated` is for speakers of FRUSTRATED_LANGUAGE.
    """

    version: str
    bad_share: float
    bad_share_frustrated: float
    latency_ms: float
    latency_spread: float
    output_chars: float
    usd_per_million: tuple[float, float]


MODELS = {
    "assistant-2": Model("assistant-2", 0.20, 0.20, 3100.0, 0.55, 520.0, (3.0, 15.0)),
    "assistant-3": Model("assistant-3", 0.30, 0.56, 2200.0, 0.50, 430.0, (1.2, 6.0)),
    "assistant-4": Model("assistant-4", 0.15, 0.15, 3600.0, 0.50, 560.0, (3.0, 15.0)),
}
DEFAULT_MODEL = "assistant-2"
CANDIDATE = "assistant-4"
FRUSTRATED_LANGUAGE = "es"
FRUSTRATING_MODEL = "assistant-3"
INCIDENT_DAY = 24
FAULTS_AT_INCIDENT = {"error": 0.07, "timeout": 0.055}
FAULTS = {"error": 0.009, "timeout": 0.004}
INCIDENT_SLOWDOWN = 2.2
TIMEOUT_MS = 30_000
HEALTH_SHARE = 0.17
REFUSED_IN_HEALTH = 0.13
REFUSED_ELSEWHERE = 0.006
CANCELLED_SHARE = 0.012
EMPTY_SHARE = 0.004
NARROW_SURFACE = "widget"
NARROW_LIMIT = 700
NARROW_WEIGHT = 2.0
NARROW_SHARE = 0.09
WITHOUT_SESSION_SHARE = 0.1
WITHOUT_TEXT_SHARE = 0.02
SHADOWED_FROM_DAY = 28
SHADOWED_SHARE = 0.08
LATE_SHARE = 0.004
SECONDS_DAY = 16
LABELLED = 600
JUDGED = 60

STATUSES = ["ok", "error", "timeout", "refusal", "cancelled"]
KINDS = [
    "opening",
    "rephrase",
    "shortened",
    "narrowed",
    "typo_fixed",
    "retry",
    "follow_up",
    "acknowledgement",
    "correction",
    "new_topic",
]
REPHRASES = ("rephrase", "shortened", "narrowed", "typo_fixed")
REPHRASE_SHARES = [0.52, 0.14, 0.18, 0.16]
# What follows an answer. `leave` ends the session.
ACTIONS = ["leave", "rephrase", "retry", "follow_up", "acknowledgement", "correction", "new_topic"]
NEXT_ACTION = {
    "good": [0.52, 0.02, 0.0, 0.29, 0.05, 0.0, 0.12],
    "bad": [0.25, 0.52, 0.02, 0.09, 0.0, 0.08, 0.04],
    "failed": [0.38, 0.12, 0.48, 0.0, 0.0, 0.0, 0.02],
    "refused": [0.42, 0.42, 0.02, 0.0, 0.0, 0.02, 0.12],
    "cancelled": [0.30, 0.45, 0.0, 0.10, 0.0, 0.0, 0.15],
    # Where the model fails a language: once more, and after a second bad answer away.
    "annoyed": [0.06, 0.86, 0.02, 0.02, 0.0, 0.02, 0.02],
    "frustrated": [0.92, 0.06, 0.0, 0.0, 0.0, 0.02, 0.0],
    "after_acknowledgement": [0.85, 0.0, 0.0, 0.0, 0.0, 0.0, 0.15],
    "after_correction": [0.55, 0.0, 0.0, 0.25, 0.0, 0.0, 0.20],
}
MOODS = list(NEXT_ACTION)
COMPLETES_LOG_ODDS = (-0.5, 0.5)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def converse(draws: Draws, users: Users, sessions: Sessions, model: np.ndarray, end: int) -> dict:
    """Every turn of the sessions, by session and turn: columns of numbers, texts and truths. `model` is an index into
    MODELS by session. Turns that are not over at `end` have not been logged.
    """
    models = list(MODELS.values())
    bad_share = np.array([each.bad_share for each in models])
    bad_share_frustrated = np.array([each.bad_share_frustrated for each in models])
    is_frustrating = np.array([each.version == FRUSTRATING_MODEL for each in models])
    count = len(sessions.user)
    skill = users.skill[sessions.user]
    speaks_harmed = users.language[sessions.user] == FRUSTRATED_LANGUAGE
    completes = draws.uniform("talk/done", count) < sigmoid(COMPLETES_LOG_ODDS[0] + COMPLETES_LOG_ODDS[1] * skill)
    is_narrow = draws.uniform("talk/narrow", count) < NARROW_SHARE
    bad = np.where(speaks_harmed, bad_share_frustrated[model], bad_share[model])

    at = np.arange(count)
    start = sessions.start + 30
    kind = np.full(count, KINDS.index("opening"))
    was_repeat = np.zeros(count, dtype=bool)
    is_health = draws.uniform("talk/health", count) < HEALTH_SHARE
    steps = []
    for step in range(MAX_TURNS):
        name = f"talk/{step}/"
        size = len(at)
        u = {key: draws.uniform(name + key, count)[at] for key in ("fault", "bad", "length", "other", "action", "gap")}
        incident = start // DAY == INCIDENT_DAY
        error = np.where(incident, FAULTS_AT_INCIDENT["error"], FAULTS["error"])
        timeout = np.where(incident, FAULTS_AT_INCIDENT["timeout"], FAULTS["timeout"])
        edges = np.stack([error, error + timeout, error + timeout + CANCELLED_SHARE])
        fault = (u["fault"] >= edges[0]).astype(int) + (u["fault"] >= edges[1]) + (u["fault"] >= edges[2])
        status = np.array([1, 2, 4, 0])[fault]
        is_empty = (status == 0) & (u["other"] < EMPTY_SHARE)
        refused = draws.uniform(name + "refused", count)[at] < np.where(is_health, REFUSED_IN_HEALTH, REFUSED_ELSEWHERE)
        refused &= (status == 0) & ~is_empty
        status = np.where(refused, 3, status)
        is_social = np.isin(kind, [KINDS.index("acknowledgement"), KINDS.index("correction")])
        status = np.where(is_social & (status == 3), 0, status)
        is_good = (status == 0) & ~is_empty & (u["bad"] >= bad[at])
        is_good |= (status == 0) & ~is_empty & (kind == KINDS.index("acknowledgement"))

        spread = np.array([each.latency_spread for each in models])[model[at]]
        median = np.array([each.latency_ms for each in models])[model[at]]
        normal = draws.normal(name + "latency", count)[at]
        latency = np.round(median * np.exp(spread * normal) * np.where(incident, INCIDENT_SLOWDOWN, 1.0))
        latency = np.where(status == 1, 200 + np.floor(700 * u["length"]), latency)
        latency = np.where(status == 2, TIMEOUT_MS, np.minimum(latency, TIMEOUT_MS - 1.0))
        latency = np.where(status == 4, np.floor(latency * 0.5) + 1, latency).astype(np.int64)
        finish = start + np.rint(latency / 1000.0).astype(np.int64)

        mood = np.where(is_good, MOODS.index("good"), MOODS.index("bad"))
        mood = np.where((status == 1) | (status == 2) | is_empty, MOODS.index("failed"), mood)
        mood = np.where(status == 3, MOODS.index("refused"), mood)
        mood = np.where(status == 4, MOODS.index("cancelled"), mood)
        is_failed_language = speaks_harmed[at] & is_frustrating[model[at]] & ~is_good & ~completes[at]
        gives_up = is_failed_language & was_repeat
        mood = np.where(is_failed_language & (mood == MOODS.index("bad")), MOODS.index("annoyed"), mood)
        mood = np.where(gives_up, MOODS.index("frustrated"), mood)
        mood = np.where(kind == KINDS.index("acknowledgement"), MOODS.index("after_acknowledgement"), mood)
        mood = np.where(kind == KINDS.index("correction"), MOODS.index("after_correction"), mood)
        chances = np.cumsum(np.array([NEXT_ACTION[each] for each in MOODS]), axis=1)[mood]
        action = np.minimum((u["action"][:, None] >= chances).sum(axis=1), len(ACTIONS) - 1)
        # Who is going to complete the task does not leave before.
        stays = (action == 0) & completes[at] & ~is_good
        failed = MOODS.index("failed")
        action = np.where(stays, np.where(mood == failed, ACTIONS.index("retry"), ACTIONS.index("rephrase")), action)
        after_social = stays & is_social
        action = np.where(after_social, ACTIONS.index("new_topic"), action)
        is_last = (action == 0) | (step == MAX_TURNS - 1)

        longest = np.array([0, 85, 40, 150, 25, 40, 700])[action]
        shortest = np.array([0, 6, 4, 12, 5, 5, 45])[action]
        gap = shortest + np.floor((longest - shortest) * u["gap"] ** 1.6).astype(np.int64)
        steps.append(
            {
                "session": at,
                "step": np.full(size, step),
                "kind": kind,
                "is_health": is_health,
                "start": start,
                "finish": finish,
                "latency": latency,
                "status": status,
                "is_empty": is_empty,
                "is_good": is_good,
                "is_last": is_last,
                "gap": np.where(is_last, -1, gap),
                "length": u["length"],
                "other": u["other"],
                "is_frustrated": gives_up,
                "completes": is_last & is_good & completes[at],
            }
        )
        goes_on = ~is_last
        rephrase = draws.choice(name + "rephrase", count, REPHRASE_SHARES)[at]
        following = {
            "rephrase": np.array([KINDS.index(each) for each in REPHRASES])[rephrase],
            **{each: np.full(size, KINDS.index(each)) for each in ACTIONS[2:]},
        }
        next_kind = np.select([action == ACTIONS.index(each) for each in following], list(following.values()), 0)
        is_repeat = np.isin(next_kind, [KINDS.index(each) for each in (*REPHRASES, "retry")])
        changes = next_kind == KINDS.index("new_topic")
        is_health = np.where(changes, ~is_health & (u["other"] < HEALTH_SHARE), is_health)[goes_on]
        at, start = at[goes_on], (finish + gap)[goes_on]
        kind, was_repeat = next_kind[goes_on], is_repeat[goes_on]
        if not len(at):
            break

    turns = {key: np.concatenate([part[key] for part in steps]) for key in steps[0]}
    order = np.lexsort((turns["step"], turns["session"]))
    turns = {key: values[order] for key, values in turns.items()}
    add_texts(draws, users, sessions, turns)
    add_amounts(draws, users, turns, sessions, model, is_narrow)
    logged = turns["finish"] < end
    turns = {key: values[logged] for key, values in turns.items()}
    turns["is_next_said"] = np.zeros(len(turns["session"]), dtype=bool)
    turns["is_next_said"][:-1] = turns["session"][1:] == turns["session"][:-1]
    return turns


def add_texts(draws: Draws, users: Users, sessions: Sessions, turns: dict) -> None:
    """What is said in each turn, and what it is about."""
    total = len(turns["session"])
    uniforms = draws.uniform("talk/text", (total, 4))
    text, category = np.empty(total, dtype=object), np.empty(total, dtype=object)
    borders = np.flatnonzero(np.diff(turns["session"], prepend=-1, append=-2))
    for first, last in itertools.pairwise(borders):
        language = str(users.language[sessions.user[turns["session"][first]]])
        pairs = zip(turns["kind"][first:last], turns["is_health"][first:last], strict=True)
        kinds = [(KINDS[kind], bool(health)) for kind, health in pairs]
        for i, (said, about) in enumerate(conversation_texts(kinds, language, uniforms[first:last].tolist())):
            text[first + i], category[first + i] = said, about
    turns["text"], turns["category"] = text, category


def add_amounts(
    draws: Draws, users: Users, turns: dict, sessions: Sessions, model: np.ndarray, is_narrow: np.ndarray
) -> None:
    """Lengths, tokens, cost, and the columns that depend on the session or the user."""
    models = list(MODELS.values())
    total = len(turns["session"])
    of_turn = model[turns["session"]]
    user = sessions.user[turns["session"]]
    status = turns["status"]
    median = np.array([each.output_chars for each in models])[of_turn]
    output = np.maximum(12, np.round(median * np.exp(0.6 * draws.normal("talk/output", total)))).astype(np.int64)
    output = np.where(status == 4, output // 4, output)
    output = np.where(status == 3, len(REFUSAL), output)
    output = np.where(turns["kind"] == KINDS.index("acknowledgement"), 12 + output % 40, output)
    output = np.where((status == 1) | (status == 2) | turns["is_empty"], 0, output)
    characters = np.array([len(text) for text in turns["text"]])
    input_tokens = 380 + 190 * turns["step"] + (characters + 3) // 4
    output_tokens = (output + 3) // 4
    price_in = np.array([each.usd_per_million[0] for each in models])[of_turn]
    price_out = np.array([each.usd_per_million[1] for each in models])[of_turn]
    first_token = np.round(turns["latency"] * (0.15 + 0.2 * turns["length"])).astype(np.int64)
    narrow = is_narrow[turns["session"]]
    finish = turns["finish"]
    late = draws.uniform("talk/is_late", total) < LATE_SHARE
    delay = np.where(late, np.floor(70.0 * draws.uniform("talk/late", total)), 0.0).astype(np.int64)
    turns.update(
        model=of_turn,
        user=user,
        output_chars=output,
        input_chars=characters,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=np.round((input_tokens * price_in + output_tokens * price_out) / 1e6, 6),
        ttft=np.where(output > 0, first_token, -1),
        is_narrow=narrow,
        is_over_limit=narrow & (output > NARROW_LIMIT),
        has_session=draws.uniform("talk/session", len(sessions.user))[turns["session"]] >= WITHOUT_SESSION_SHARE,
        has_text=draws.uniform("talk/stored", users.count)[user] >= WITHOUT_TEXT_SHARE,
        loaded=(finish // BATCH_LOAD_SECONDS + 1 + delay) * BATCH_LOAD_SECONDS,
    )


def reactions(draws: Draws, turns: dict, end: int) -> dict:
    """The events that follow answers. `trace` is the turn, -1 where the event does not name it; a third name neither
    trace nor session.
    """
    total = len(turns["session"])
    status, is_good = turns["status"], turns["is_good"]
    is_bad = ~is_good & (status == 0)
    is_last = turns["is_last"]
    is_answer = is_good & (turns["kind"] != KINDS.index("acknowledgement"))
    chances = {
        "copy": np.where(is_answer, np.where(np.isin(turns["category"], ["code", "writing"]), 0.30, 0.12), 0.012),
        "thumbs_up": np.where(is_answer, 0.045, 0.002),
        "thumbs_down": np.where(is_bad, np.where(turns["is_frustrated"], 0.5, 0.08), 0.002),
        "stop": np.where(status == 4, 1.0, 0.0),
        "regenerate": np.where(is_last | (status != 0), 0.0, 0.025),
        "escalation": np.where(((status == 1) | (status == 2)) & is_last, 0.2, 0.0),
        "human_override": np.where((status == 3) & is_last, 0.15, 0.0),
        "task_complete": turns["completes"].astype(float),
    }
    room = np.where(is_last, 60, turns["gap"])
    parts = []
    for event, chance in chances.items():
        at = np.flatnonzero((draws.uniform("react/" + event, total) < chance) & (room >= 4))
        wait = 1 + np.floor(draws.uniform("react/" + event + "/wait", total)[at] * np.minimum(room[at] - 2, 45))
        time = turns["finish"][at] + np.where(event == "stop", 0, wait).astype(np.int64)
        actor = np.full(len(at), 2 if event == "human_override" else 0)
        parts.append((np.full(len(at), event), at, time, actor))
    event, at, time, actor = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = time < end
    event, at, time, actor = event[kept], at[kept], time[kept], actor[kept]
    names = draws.uniform("react/names", len(at))
    order = np.lexsort((event, time))
    event, at, time, actor, names = event[order], at[order], time[order], actor[order], names[order]
    has_session = turns["has_session"][at]
    return {
        "event": event,
        "session": np.where(has_session & (names < 0.67), turns["session"][at], -1),
        "user": turns["user"][at],
        "time": time,
        "value": np.full(len(at), np.nan),
        "actor": actor,
        "trace": np.where(names < 0.45, at, -1),
    }


def scores(draws: Draws, turns: dict, before: int, size: float) -> dict:
    """Labels that people gave a sample of the answers, and a model's scores of a few of them: 1 is helpful."""
    total = len(turns["session"])
    candidates = np.flatnonzero((turns["finish"] < before) & turns["has_text"] & ~turns["is_lost"])
    count = min(round(LABELLED * size), len(candidates))
    at = draws.pick("labels", candidates, count)
    sound = np.where(draws.uniform("labels/sound", total) < 0.93, turns["is_good"], ~turns["is_good"])
    wait = np.floor((0.3 + 2.2 * draws.uniform("labels/wait", total)) * DAY).astype(np.int64)
    judged = at[: round(count * JUDGED / LABELLED)]
    opinion = 0.25 + 0.45 * turns["is_good"] + 0.25 * draws.uniform("labels/judge", total)
    return {
        "turn": np.concatenate([at, judged]),
        "is_human": np.arange(count + len(judged)) < count,
        "score": np.concatenate([sound[at].astype(float), np.round(opinion[judged], 2)]),
        "time": np.concatenate([turns["finish"][at] + wait[at], turns["finish"][judged] + 900]),
        "probability": np.full(count + len(judged), count / max(len(candidates), 1)),
    }
