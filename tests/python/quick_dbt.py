"""Spares dbt, in this process, work that it does many times over with the same result.

A suite of some hundred builds spends most of its time in dbt, not in the warehouses. Nothing that dbt decides is
changed here: test_harness.py compares the SQL and the manifest with those of an untouched dbt in its own process.
"""

from __future__ import annotations

import gc
import marshal
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import dbt.compilation
import dbt.context.macros
import dbt.context.providers
import jinja2.sandbox
import parsedatetime
from dbt.adapters.base import BaseAdapter, BaseRelation
from dbt.adapters.cache import RelationsCache
from dbt.clients.jinja import MacroGenerator, MacroStack
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.context.manifest import ManifestContext
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.clients.jinja import BaseMacroGenerator
from dbt_common.dataclass_schema import dbtClassMixin
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.tests import enable_test_caching
from dbt_common.utils.formatting import lowercase

_BINDER = "_binder_of_the_tests"


@cache
def install() -> None:
    # A manifest is a million long-lived objects, and the collector would walk through them again and again.
    gc.set_threshold(50_000, 20, 50)
    _keep_templates()
    _keep_macros()
    _share_namespaces()
    _keep_answers()
    _keep_validations()
    _keep_calendars()
    _inject_into_the_head()
    _keep_members()
    _read_dictionaries()
    _match_by_name()
    _name_callers()
    _drop_debug_events()


@cache
def settle() -> None:
    """After the first command: what is kept for the session is left out of every later collection."""
    gc.collect()
    gc.freeze()


def _keep_templates() -> None:
    """Each template is read once a session: half of a parse is reading the same ones again.

    dbt's own switch for its tests covers what it takes from macros without rendering them; the compiled templates of
    models are ours to keep. They depend on the source and on the environment's class and extensions alone.
    """
    enable_test_caching()
    compile_template = jinja2.Environment.compile
    kept: dict[Any, Any] = {}

    def compile_once(self: jinja2.Environment, source: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(source, str):
            return compile_template(self, source, *args, **options)
        key = (type(self), tuple(sorted(self.extensions)), source, args, tuple(sorted(options.items())))
        if key not in kept:
            kept[key] = compile_template(self, source, *args, **options)
        return kept[key]

    jinja2.Environment.compile = compile_once  # type: ignore[method-assign]


def _keep_macros() -> None:
    """A macro's module holds the macro alone: one for each context will do, where dbt makes one for each call."""
    get_macro = BaseMacroGenerator.get_macro

    def get_macro_once(self: BaseMacroGenerator) -> Any:
        made = self.__dict__.get("_made_macro")
        if made is None:
            made = self.__dict__["_made_macro"] = get_macro(self)
        return made

    BaseMacroGenerator.get_macro = get_macro_once  # type: ignore[method-assign]


class _SharedMacro(MacroGenerator):
    """A macro of a namespace that contexts share; the template that calls it has it bound to its own context."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise RuntimeError(f"{self.macro.name} was called from outside of a template")


class _Binder:
    """The macros of one context, each made at its first call."""

    def __init__(self, context: dict[str, Any], node: Any, stack: MacroStack) -> None:
        self.context, self.node, self.stack = context, node, stack
        self.made: dict[_SharedMacro, MacroGenerator] = {}

    def bound(self, shared: _SharedMacro) -> MacroGenerator:
        made = self.made.get(shared)
        if made is None:
            made = self.made[shared] = MacroGenerator(shared.macro, self.context, self.node, self.stack)
        return made


def _share_namespaces() -> None:
    """A context of each node, and of each macro that an adapter calls, holds all of the 700 macros.

    dbt makes them anew for each context, of which a build has five for each model, and then calls a few of them.
    """
    inherited = super(ManifestContext, ManifestContext).to_dict
    build_namespace = MacroNamespaceBuilder.build_namespace
    call = jinja2.sandbox.SandboxedEnvironment.call
    # Of the latest manifest: its macros, how many there are, and the namespaces, each with the same as one dictionary.
    known: list[tuple[Any, int, dict[Any, Any]]] = [(None, 0, {})]

    def build_once(self: MacroNamespaceBuilder, by_package: Any, context: dict[str, Any]) -> MacroNamespace:
        context[_BINDER] = _Binder(context, self.node, self.thread_ctx)
        size = sum(map(len, by_package.values()))
        if known[0][0] is not by_package or known[0][1] != size:
            known[0] = (by_package, size, {})
        namespaces = known[0][2]
        key = (self.root_package, self.search_package, *self.internal_package_names_order)
        if key not in namespaces:
            made = build_namespace(self, by_package, {})
            made._as_dictionary = dict(made)
            namespaces[key] = made
        return namespaces[key]

    def to_dict(self: ManifestContext) -> dict[str, Any]:
        found = inherited(self)
        if isinstance(self.namespace, MacroNamespace):
            found.update(self.namespace._as_dictionary)
        else:
            found.update(self.namespace.local_namespace)
            found.update(self.namespace.project_namespace)
        return found

    def call_bound(self: Any, context: Any, called: Any, /, *args: Any, **options: Any) -> Any:
        if type(called) is _SharedMacro:
            called = context.parent[_BINDER].bound(called)
        return call(self, context, called, *args, **options)

    dbt.context.macros.MacroGenerator = _SharedMacro  # type: ignore[misc]
    MacroNamespaceBuilder.build_namespace = build_once  # type: ignore[method-assign]
    ManifestContext.to_dict = to_dict  # type: ignore[method-assign]
    jinja2.sandbox.SandboxedEnvironment.call = call_bound  # type: ignore[method-assign]


# Macros that read the configuration and nothing else, by package and name.
_OF_THE_CONFIGURATION = {f"macro.evalhouse.{name}" for name in ("settings", "has_input", "metric_plan")}
_answers: dict[Any, bytes] | None = None


@contextmanager
def one_configuration() -> Iterator[None]:
    """Within, the variables are the same: what the configuration amounts to is worked out once."""
    global _answers
    _answers = {}
    try:
        yield
    finally:
        _answers = None


def _keep_answers() -> None:
    """Nearly every model asks for the checked configuration, a third of a parse.

    Each caller gets a copy of its own, and an answer that is more than plain values is not kept. It may depend on the
    package of the node, whose variables are read.
    """
    call_macro = MacroGenerator.call_macro

    def answer(self: MacroGenerator, *args: Any, **options: Any) -> Any:
        answers = _answers
        if answers is None or self.macro.unique_id not in _OF_THE_CONFIGURATION:
            return call_macro(self, *args, **options)
        package = getattr(self.node, "package_name", None)
        key = (self.macro.unique_id, package, self.context["project_name"], args, tuple(options.items()))
        if key in answers:
            return marshal.loads(answers[key])
        found = call_macro(self, *args, **options)
        with suppress(ValueError):
            answers[key] = marshal.dumps(found)
        return found

    MacroGenerator.call_macro = answer  # type: ignore[method-assign]


def _keep_validations() -> None:
    """What has passed a schema once, such as the YAML of a model, passes it again."""
    validate = dbtClassMixin.validate.__func__  # type: ignore[attr-defined]
    passed: set[tuple[type, str]] = set()

    def validate_once(cls: type, data: Any) -> None:
        key = (cls, repr(data))
        if key not in passed:
            validate(cls, data)
            passed.add(key)

    dbtClassMixin.validate = classmethod(validate_once)  # type: ignore[assignment]


def _keep_calendars() -> None:
    """The table of a query's result gets a parser of dates in words, with the names of a locale: one will do."""
    parsedatetime.Constants = cache(parsedatetime.Constants)


# The start of a statement whose first CTE has a name; "with recursive" is left to dbt.
_HEAD = re.compile(r"\s*with\s+(?=\w+\s+as\b)", re.IGNORECASE)


def _inject_into_the_head() -> None:
    """An ephemeral model is put behind the first "with" of its reader; dbt takes all of the statement apart for it."""
    inject = dbt.compilation.inject_ctes_into_sql

    def inject_into_the_head(sql: str, ctes: list[Any]) -> str:
        head = _HEAD.match(sql)
        if not ctes or not head or ";" in sql:
            return inject(sql, ctes)
        return inject(head.group() + "_", ctes).removesuffix("_") + sql[head.end() :]

    dbt.compilation.inject_ctes_into_sql = inject_into_the_head


def _keep_members() -> None:
    """Every context holds the arguments of the command and, of its model, the functions that raise errors."""
    args_to_dict = dbt.context.providers.args_to_dict
    wrapped_exports = dbt.context.providers.wrapped_exports
    # Whose arguments, with which variables (a test may put others in their place), as a dictionary.
    arguments: list[tuple[Any, Any, dict[str, Any]]] = [(None, None, {})]
    exports: dict[int, tuple[Any, dict[str, Any]]] = {}

    def args_to_dict_once(args: Any) -> dict[str, Any]:
        variables = getattr(args, "vars", None)
        if arguments[0][0] is not args or arguments[0][1] is not variables:
            arguments[0] = (args, variables, args_to_dict(args))
            exports.clear()
        return dict(arguments[0][2])

    def wrapped_exports_once(model: Any) -> dict[str, Any]:
        kept = exports.get(id(model))
        if kept is None:
            kept = exports[id(model)] = (model, wrapped_exports(model))
        return kept[1]

    dbt.context.providers.args_to_dict = args_to_dict_once
    dbt.context.providers.wrapped_exports = wrapped_exports_once


def _read_dictionaries() -> None:
    """A key of a plain dictionary is no attribute of it, which jinja finds out by an exception."""
    read = jinja2.sandbox.SandboxedEnvironment.getattr
    attributes = frozenset(dir(dict))

    def read_key(self: jinja2.sandbox.SandboxedEnvironment, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj and attribute not in attributes:
            return obj[attribute]
        return read(self, obj, attribute)

    jinja2.sandbox.SandboxedEnvironment.getattr = read_key  # type: ignore[method-assign]


def _match_by_name() -> None:
    """A relation is looked up among those of its name, where dbt compares every part of all of them."""
    match = BaseAdapter._make_match

    def bare(name: Any) -> str:
        return str(name).lower().strip(BaseRelation.quote_character + "`")

    def match_by_name(self: BaseAdapter, relations_list: list[Any], database: str, schema: str, identifier: str) -> Any:
        if identifier:
            wanted = bare(identifier)
            relations_list = [relation for relation in relations_list if bare(relation.identifier) == wanted]
        return match(self, relations_list, database, schema, identifier)

    def get_relations(self: RelationsCache, database: str | None, schema: str | None) -> list[Any]:
        wanted = (lowercase(database), lowercase(schema))
        with self.lock:
            return [relation.inner for key, relation in self.relations.items() if key[:2] == wanted]

    BaseAdapter._make_match = match_by_name  # type: ignore[method-assign]
    RelationsCache.get_relations = get_relations  # type: ignore[method-assign]


def _name_callers() -> None:
    """A switch of an adapter is named after the module that makes it: dbt looks for it in all callers' sources.

    That is six times a command on Postgres, and every caller that is from no module, of which pytest has some, is
    looked for in each module that was ever imported. With most of scipy among them that takes seconds.
    """

    def name_caller() -> str:
        frame = sys._getframe(1)
        while frame is not None:
            name = frame.f_globals.get("__name__")
            if name and name != BehaviorFlagRendered.__module__:
                return name
            frame = frame.f_back
        return "Unknown"

    BehaviorFlagRendered._default_source = staticmethod(name_caller)  # type: ignore[method-assign]


def _drop_debug_events() -> None:
    """Debug messages, which the tests do not read, are neither written nor put together."""
    fill = BaseEvent.__init__
    fire_event = EventManager.fire_event

    def keep_arguments(self: BaseEvent, *args: Any, **options: Any) -> None:
        self.__dict__["_arguments"] = (args, options)

    def get(self: BaseEvent, key: str) -> Any:
        if key == "pb_msg" and "_arguments" in self.__dict__:
            args, options = self.__dict__.pop("_arguments")
            fill(self, *args, **options)
            return self.__dict__["pb_msg"]
        if key.startswith("__") or key == "pb_msg":
            raise AttributeError(key)
        return getattr(self.pb_msg, key)

    def put(self: BaseEvent, key: str, value: Any) -> None:
        if key == "pb_msg":
            self.__dict__[key] = value
        else:
            setattr(self.pb_msg, key, value)

    def fire(self: EventManager, e: BaseEvent, level: EventLevel | None = None, **options: Any) -> None:
        is_warning = options.get("force_warn_or_error_handling")
        if is_warning or (level or e.level_tag()) is not EventLevel.DEBUG:
            fire_event(self, e, level=level, **options)

    BaseEvent.__init__ = keep_arguments  # type: ignore[method-assign]
    BaseEvent.__getattr__ = get  # type: ignore[method-assign]
    BaseEvent.__setattr__ = put  # type: ignore[method-assign]
    EventManager.fire_event = fire  # type: ignore[method-assign]
