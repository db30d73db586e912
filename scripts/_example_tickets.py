"""The ticket router of the example world: predictions by day, their labels that come late, and three things that drift.

Whether a prediction is right depends on the product area and a little on the language, never on the day; what moves is
who writes (a new market), what is logged (a bad day) and which queue is the right one (a new policy). Every day has
streams of random numbers of its own, so that days can be made one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from generate_world import Draws

DAY = 86_400
HOUR = 3_600
START = "2025-11-17"
DAYS = 84
HOURS_AFTER_LAST_DAY = 2
TICKETS_A_DAY = 144
WEEKDAY_FACTOR = [1.1, 1.05, 1.05, 1.0, 1.0, 0.9, 0.9]
MODEL_VERSION = "r7"

BAD_LOGGING_DAY = 43
NEW_MARKET_DAY = 49
NEW_POLICY_DAY = 70

HOME_CUSTOMERS = 2300
MARKET_CUSTOMERS = 900
MARKET_CUSTOMERS_BEFORE = 200
HOME_LANGUAGES = {"en": 0.52, "de": 0.25, "es": 0.23}
MARKET_LANGUAGE = "pt"
MARKET_SHARE_BEFORE = 0.06
MARKET_SHARE = 0.38
MARKET_LENGTH = 3.0
MEDIAN_CHARS = 320
CHANNELS = {"email": 0.45, "web": 0.35, "chat": 0.20}
QUEUES = ["payments", "shipping", "returns", "identity"]
# product area, share of the tickets, the queue that most of them belong to, how often the router is right
AREAS = [
    ("billing", 0.26, "payments", 0.93),
    ("delivery", 0.23, "shipping", 0.91),
    ("returns", 0.31, "returns", 0.89),
    ("account", 0.20, "identity", 0.92),
]
# Such that the new market moves who writes and, all in all, not how often the router is right.
LANGUAGE_OFFSET = {"en": 0.01, "de": -0.01, "es": -0.01, MARKET_LANGUAGE: 0.0}
OWN_QUEUE_SHARE = 0.87
POLICY_AREA, POLICY_QUEUE = "returns", "payments"
POLICY_SHARE = 0.9

MISSING_LANGUAGE_SHARE = 0.6
LABELLED_SHARE = 0.94
RESPELT_CHANNEL = ("email", "E-Mail")

# What was planted, and what a right analysis of the monitor `routing` therefore says.
TRUTH = {
    "a day of bad logging": {
        "day": BAD_LOGGING_DAY,
        "planted": "For a day a new release of the logger loses the language of 60% of the tickets and writes the "
        "channel `email` as `E-Mail`. Nobody's ticket is routed any differently.",
        "says": "`logging`, for `language` (missing) and `channel` (a value never seen), on that day and no other: a "
        "spike, nothing sustained. Accuracy is as it was.",
    },
    "a covariate shift": {
        "day": NEW_MARKET_DAY,
        "planted": "A new market opens: 38% of the tickets are in Portuguese, 6% were, and those are three times as "
        "long. There are as many tickets as before, and tickets of a language are routed as well as before.",
        "says": "`covariate` for `language` and `ticket_chars`, sustained, since that day; accuracy is as it was. It "
        "wears off as the 28 days of the reference fill with the new market.",
    },
    "a concept shift": {
        "day": NEW_POLICY_DAY,
        "planted": "A new policy: nine in ten tickets that were the returns team's are the payments team's now. The "
        "router does not know. It sends the same tickets where it always did, and is as sure of it as ever.",
        "says": "`concept`, sustained, since that day: accuracy falls by some 20 points, all within `returns`, none "
        "of it from the mix. No input moves and no prediction; the labels do, and they come one to three days late.",
    },
}


def market_share(day: int) -> float:
    return MARKET_SHARE if day >= NEW_MARKET_DAY else MARKET_SHARE_BEFORE


def make_customers(draws: Draws, size: float) -> dict:
    """The customers: first those of the home markets, then those of the new one, in the order in which they come."""
    home, market = (max(1, round(count * size)) for count in (HOME_CUSTOMERS, MARKET_CUSTOMERS))
    languages = np.array([*HOME_LANGUAGES, MARKET_LANGUAGE])
    language = draws.choice("tickets/language", home, list(HOME_LANGUAGES.values()))
    return {
        "home": home,
        "market": market,
        "market_before": max(1, round(MARKET_CUSTOMERS_BEFORE * size)),
        "language": languages[np.concatenate([language, np.full(market, len(HOME_LANGUAGES))])],
        "channel": draws.choice("tickets/channel", home + market, list(CHANNELS.values())),
        "length": 0.2 * draws.normal("tickets/length", home + market),
    }


def tickets_of_day(draws: Draws, customers: dict, day: int, size: float) -> dict:
    """One day's tickets in the order of time; `day` counts from START. The day after the last has just begun."""
    expected = TICKETS_A_DAY * size * WEEKDAY_FACTOR[day % 7]
    # As many as a day has, give or take what chance does.
    count = max(0, round(expected + np.sqrt(expected) * float(draws.normal("tickets/count", 1)[0])))
    seconds = np.sort(np.floor(DAY * draws.uniform("tickets/time", count)).astype(np.int64))
    if day >= DAYS:
        seconds = seconds[seconds < HOURS_AFTER_LAST_DAY * HOUR]
        count = len(seconds)
    customer = customers_of_day(draws, customers, day, count)
    language = customers["language"][customer]
    is_market = language == MARKET_LANGUAGE
    own_channel = draws.uniform("tickets/own_channel", count) < 0.5
    any_channel = draws.choice("tickets/any_channel", count, list(CHANNELS.values()))
    channel = np.array(list(CHANNELS))[np.where(own_channel, customers["channel"][customer], any_channel)]
    length = np.log(MEDIAN_CHARS) + customers["length"][customer] + 0.45 * draws.normal("tickets/chars", count)
    area = draws.choice("tickets/area", count, [share for _, share, _, _ in AREAS])
    rows = {
        "customer": customer,
        "second": day * DAY + seconds,
        "chars": np.clip(np.round(np.exp(length + np.where(is_market, np.log(MARKET_LENGTH), 0.0))), 12, 6000),
        "language": language,
        "channel": channel,
        "area": area,
    }
    rows |= routed(draws, day, area, language)
    lag = np.floor((24.0 + 48.0 * draws.uniform("tickets/lag", count) ** 3) * HOUR).astype(np.int64)
    labelled = rows["second"] + lag
    is_labelled = draws.uniform("tickets/labelled", count) < LABELLED_SHARE
    is_labelled &= labelled < DAYS * DAY + HOURS_AFTER_LAST_DAY * HOUR
    rows["labelled"] = np.where(is_labelled, labelled, -1)
    if day == BAD_LOGGING_DAY:
        is_lost = draws.uniform("tickets/lost", count) < MISSING_LANGUAGE_SHARE
        rows["language"] = np.where(is_lost, "", language)
        rows["channel"] = np.where(channel == RESPELT_CHANNEL[0], RESPELT_CHANNEL[1], channel)
    return rows


def customers_of_day(draws: Draws, customers: dict, day: int, count: int) -> np.ndarray:
    """Who writes: some customers write more often than others, and of the new market most come when it opens."""
    known = customers["market"] if day >= NEW_MARKET_DAY else customers["market_before"]
    place = draws.uniform("tickets/customer", count) ** 1.4
    is_market = draws.uniform("tickets/market", count) < market_share(day)
    home = np.floor(place * customers["home"])
    return np.where(is_market, customers["home"] + np.floor(place * known), home).astype(np.int64)


def routed(draws: Draws, day: int, area: np.ndarray, language: np.ndarray) -> dict:
    """The queue that the router chose, how sure it was, and the queue that a person would choose that day."""
    count = len(area)
    own = np.array([QUEUES.index(queue) for _, _, queue, _ in AREAS])[area]
    correct = np.where(draws.uniform("tickets/own", count) < OWN_QUEUE_SHARE, own, other(draws, "tickets/not_own", own))
    chance = np.array([right for _, _, _, right in AREAS])[area]
    for name, offset in LANGUAGE_OFFSET.items():
        chance = chance + np.where(language == name, offset, 0.0)
    knows = draws.uniform("tickets/right", count) < chance
    predicted = np.where(knows, correct, other(draws, "tickets/wrong", correct))
    sureness = 1.2 + 0.9 * knows + 0.7 * draws.normal("tickets/confidence", count)
    # The router has learned from the years before the new policy, which so moves neither of these two.
    rows = {"predicted": predicted, "confidence": np.round(1.0 / (1.0 + np.exp(-sureness)), 2)}
    if day >= NEW_POLICY_DAY:
        names = [name for name, _, _, _ in AREAS]
        concerned = (area == names.index(POLICY_AREA)) & (correct == QUEUES.index("returns"))
        concerned &= draws.uniform("tickets/policy", count) < POLICY_SHARE
        correct = np.where(concerned, QUEUES.index(POLICY_QUEUE), correct)
    return rows | {"correct": correct}


def other(draws: Draws, name: str, queue: np.ndarray) -> np.ndarray:
    """Another queue, any of the others alike."""
    step = 1 + np.floor(draws.uniform(name, len(queue)) * (len(QUEUES) - 1)).astype(np.int64)
    return (queue + step) % len(QUEUES)
