"""What a compiled statement may hold on a cloud engine, beyond what a parser checks.

sqlglot reads more than an engine does: functions it has never heard of, clauses the engine lacks. The lists below are
from the engines' own references; a function or type that is in none of them is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import sqlglot
from sqlglot import exp
from sqlglot.dialects import Dialect
from sqlglot.tokens import Token, TokenType

# Functions that every one of the four documents with one meaning. greatest() and least() are among them: with a null
# among their arguments engines disagree, so no argument may be null where the result counts.
_SHARED_FUNCTIONS = (
    "abs avg cast ceil coalesce count dense_rank exp first_value floor greatest grouping lag lead least left length ln "
    "lower max min mod nullif power rank regexp_replace replace right round row_number sign sqrt stddev_samp substr "
    "substring sum translate trim var_samp md5"
)
_OWN_FUNCTIONS = {
    "snowflake": (
        "any_value array_agg array_cat array_distinct array_intersection array_size array_to_string arrays_zip "
        "convert_timezone covar_samp date_trunc dateadd datediff get listagg percentile_cont reduce regexp_like split "
        "transform "
        "try_cast try_parse_json"
    ),
    "bigquery": (
        "any_value array_agg array_concat array_length covar_samp datetime_diff "
        "json_value_array offset ordinal safe_cast safe_offset split string_agg timestamp_add timestamp_diff "
        "timestamp_trunc to_hex "
        "unnest array"
    ),
    "databricks": (
        "aggregate any_value array_distinct array_except array_intersect array_join array_sort array_union "
        "array_contains array_size collect_list concat covar_samp date_trunc datediff exists filter first from_json "
        "isnan min_by named_struct percentile regexp_like size sort_array split struct timestampadd timestampdiff "
        "transform try_cast unix_micros zip_with date_add to_timestamp forall"
    ),
    "redshift": (
        "any_value array_distinct array_intersection date_trunc dateadd datediff is_valid_json_array json_parse "
        "json_serialize "
        "listagg percentile_cont split_to_array to_char try_cast"
    ),
}
FUNCTIONS = {engine: frozenset(f"{_SHARED_FUNCTIONS} {own}".split()) for engine, own in _OWN_FUNCTIONS.items()}

TYPES = {
    "snowflake": "array bigint boolean date decimal double double_precision integer numeric text timestamp "
    "timestamp_ntz timestamp_tz varchar",
    "bigquery": "array bigint boolean date datetime decimal float64 int64 integer numeric string timestamp",
    "databricks": "array bigint boolean date decimal double integer string timestamp",
    "redshift": "bigint boolean date decimal double_precision integer numeric super text timestamp timestamptz varchar",
}

RESERVED = {
    "snowflake": (
        "account all alter and any as between by case cast check column connect connection constraint create cross "
        "current database delete distinct drop else exists false following for from full grant group gscluster having "
        "ilike in increment inner insert intersect into is issue join lateral left like localtime localtimestamp minus "
        "natural not null of on or order organization qualify regexp revoke right rlike row rows sample schema select "
        "set some start table tablesample then to trigger true try_cast union unique update using values view when "
        "whenever where with"
    ),
    "bigquery": (
        "all and any array as asc assert_rows_modified at between by case cast collate contains create cross cube "
        "current default define desc distinct else end enum escape except exclude exists extract false fetch following "
        "for from full group grouping groups hash having if ignore in inner intersect interval into is join lateral "
        "left like limit lookup merge natural new no not null nulls of on or order outer over partition preceding "
        "proto qualify range recursive respect right rollup rows select set some struct tablesample then to treat true "
        "unbounded union unnest using when where window with within"
    ),
    "databricks": (
        "anti cross except full inner intersect join lateral left natural on right semi union using default false null "
        "true"
    ),
    "redshift": (
        "aes128 aes256 all allowoverwrite analyse analyze and any array as asc authorization az64 backup between "
        "binary blanksasnull both bytedict bzip2 case cast check collate column constraint create credentials cross "
        "current_date current_time current_timestamp current_user current_user_id default deferrable deflate defrag "
        "delta delta32k desc disable distinct do else emptyasnull enable encode encrypt encryption end except explicit "
        "false for foreign freeze from full globaldict256 globaldict64k grant group gzip having identity ignore ilike "
        "in initially inner intersect interval into is isnull join leading left like limit localtime localtimestamp "
        "lun luns lzo lzop minus mostly16 mostly32 mostly8 natural new not notnull null nulls off offline offset oid "
        "old on only open or order outer overlaps parallel partition percent permissions pivot placing primary raw "
        "readratio recover references reject rejectlog resort respect restore right select session_user similar "
        "snapshot some sysdate system table tag tdes text255 text32k then timestamp to top trailing true "
        "truncatecolumns union unique unnest unpivot user using verbose wallet when where with without"
    ),
}

_SORTED_AGGREGATES = (exp.GroupConcat, exp.PercentileCont)
_RANKINGS = (exp.RowNumber, exp.Lag, exp.Lead, exp.DenseRank, exp.Rank, exp.Ntile, exp.PercentRank, exp.CumeDist)


@cache
def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def findings(engine: str, sql: str) -> list[str]:
    """What is wrong with the statement on the engine, each thing once."""
    dialect = Dialect.get_or_raise(engine)
    try:
        tokens = dialect.tokenize(sql)
        trees = [tree for tree in dialect.parser().parse(tokens, sql) if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        return [f"does not parse: {re.sub(chr(27) + r'.{1,3}m', '', str(error)).splitlines()[0]}"]
    if len(trees) != 1:
        return [f"is {len(trees)} statements"]
    return sorted({*_of_tokens(engine, tokens), *_of_tree(engine, trees[0])})


def _of_tokens(engine: str, tokens: list[Token]) -> Iterator[str]:
    for place, (token, following) in enumerate(pairwise(tokens)):
        name = token.text.lower()
        if token.token_type is TokenType.DCOLON:
            yield "a cast by ::"
        if token.token_type in (TokenType.STRING, TokenType.RAW_STRING, TokenType.IDENTIFIER):
            continue
        # A call's parenthesis touches its name; after a keyword there is a space.
        if following.token_type is not TokenType.L_PAREN or following.start != token.end + 1:
            continue
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
            continue
        if place and tokens[place - 1].token_type is TokenType.DOT:
            name = f"{tokens[place - 2].text.lower()}.{name}"
        if name not in FUNCTIONS[engine] | {"decimal", "numeric", "safe.parse_json"}:
            yield f"the function {name}"
        if name in ("cast", "safe_cast", "try_cast"):
            kind = _type_of_cast(tokens, place + 1)
            if kind not in _words(TYPES[engine]):
                yield f"a cast to {kind}"
            yield from _narrow_decimal(engine, tokens, place + 1)


def _type_of_cast(tokens: list[Token], opening: int) -> str:
    """The words after the last `as` of this parenthesis, without sizes."""
    depth, words = 0, []
    for token in tokens[opening:]:
        if token.token_type is TokenType.L_PAREN:
            depth += 1
        elif token.token_type is TokenType.R_PAREN:
            depth -= 1
            if depth == 0:
                break
        elif depth == 1 and token.token_type is TokenType.ALIAS:
            words = []
        elif depth == 1:
            words.append(token.text.lower())
    if "<" in words:
        words = words[: words.index("<")]
    return "_".join(words).replace(" ", "_")


def _narrow_decimal(engine: str, tokens: list[Token], opening: int) -> Iterator[str]:
    """BigQuery's decimals have at most 29 digits before the point."""
    if engine != "bigquery":
        return
    text = " ".join(token.text.lower() for token in tokens[opening : opening + 400])
    match = re.match(r"\( (?:(?! as ).)* as (?:decimal|numeric) \( (\d+) , (\d+) \)", text)
    if match and int(match[1]) - int(match[2]) > 29:
        yield f"a decimal of {match[1]} digits"


def _of_tree(engine: str, tree: exp.Expression) -> Iterator[str]:
    reserved = _words(RESERVED[engine])
    for node in tree.walk():
        if isinstance(node, exp.Command):
            yield "a statement that sqlglot did not read"
        elif isinstance(node, exp.Identifier):
            if not node.args.get("quoted") and node.name.lower() in reserved:
                yield f"the reserved word {node.name} as a name"
        elif isinstance(node, exp.CTE):
            if node.args.get("materialized") is not None:
                yield "a hint to materialize a CTE"
        elif isinstance(node, exp.Filter) and engine != "databricks":
            yield "a filter on an aggregate"
        elif isinstance(node, (exp.NullSafeEQ, exp.NullSafeNEQ)) and engine == "redshift":
            yield "is distinct from"
        elif isinstance(node, exp.Distinct) and node.args.get("on"):
            yield "distinct on"
        elif isinstance(node, exp.SetOperation) and not isinstance(node, exp.Union):
            yield "a set operation other than a union"
        elif isinstance(node, exp.Union) and node.args.get("distinct"):
            yield "a union without all, which engines spell differently"
        elif isinstance(node, exp.Select):
            yield from _of_select(engine, node)
        elif isinstance(node, exp.Window):
            yield from _of_window(engine, node)
        elif isinstance(node, exp.Values):
            yield "a list of values as a table"
        elif isinstance(node, exp.Lateral) and engine != "databricks":
            yield "a lateral join"
        elif isinstance(node, (exp.Lag, exp.Lead)) and node.args.get("default") and engine == "redshift":
            yield "a default of lag or lead"


def _of_select(engine: str, select: exp.Select) -> Iterator[str]:
    has_from = select.args.get("from_") or select.args.get("from")
    if select.args.get("where") and not has_from and engine == "bigquery":
        yield "a where without a from"
    if select.args.get("windows") and engine in ("snowflake", "redshift"):
        yield "a named window"
    grouping = select.args.get("group")
    keys = grouping.expressions if grouping else []
    if len({isinstance(key, exp.GroupingSets) for key in keys}) > 1:
        yield "grouping sets beside other keys"
    if engine == "redshift":
        orders = {
            order.sql()
            for aggregate in select.find_all(exp.WithinGroup)
            if aggregate.find_ancestor(exp.Select) is select
            for order in aggregate.find_all(exp.Order)
        }
        if len(orders) > 1:
            yield "sorted aggregates of different orders"


def _of_window(engine: str, window: exp.Window) -> Iterator[str]:
    function = window.this
    if isinstance(function, (exp.IgnoreNulls, exp.RespectNulls)):
        function = function.this
    if (
        engine == "redshift"
        and window.args.get("order")
        and not window.args.get("spec")
        and isinstance(function, exp.AggFunc)
        and not isinstance(function, _RANKINGS)
    ):
        yield "a window aggregate that is ordered and has no frame"
