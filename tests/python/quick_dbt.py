"""Spares dbt, in this process, work that it does many times over with the same result.

A suite of some hundred builds spends most of its time in dbt, not in the warehouses. Nothing that dbt decides is
changed here: test_harness.py compares the SQL and the manifest with those of an untouched dbt in its own process.
"""

from __future__ import annotations

import gc
from functools import cache
from typing import Any

import jinja2
import parsedatetime
from dbt.clients.jinja import MacroGenerator
from dbt.context.macros import MacroNamespace, MacroNamespaceBuilder
from dbt.context.manifest import ManifestContext, TestMacroNamespace
from dbt_common.clients.jinja import BaseMacroGenerator
from dbt_common.dataclass_schema import dbtClassMixin
from dbt_common.events.base_types import BaseEvent, EventLevel
from dbt_common.events.event_manager import EventManager
from dbt_common.tests import enable_test_caching


@cache
def install() -> None:
    # A manifest is a million long-lived objects, and the collector would walk through them again and again.
    gc.set_threshold(50_000, 20, 50)
    _keep_templates()
    _keep_macros()
    _share_namespaces()
    _keep_validations()
    _keep_calendars()
    _drop_debug_events()


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


def _share_namespaces() -> None:
    """A context of each node, and of each macro that an adapter calls, holds all of the 700 macros.

    The generators are the same, made without three constructors each; the lookup order is dbt's own.
    """
    inherited = super(ManifestContext, ManifestContext).to_dict

    def build_namespace(self: MacroNamespaceBuilder, by_package: Any, context: dict[str, Any]) -> MacroNamespace:
        made: dict[str, dict[str, MacroGenerator]] = {}
        for package, macros in by_package.items():
            made[package] = {}
            for name, macro in macros.items():
                generator = MacroGenerator.__new__(MacroGenerator)
                generator.__dict__ = {
                    "context": context,
                    "macro": macro,
                    "node": self.node,
                    "stack": self.thread_ctx,
                }
                made[package][name] = generator
        internal: dict[str, MacroGenerator] = {}
        for package in reversed(self.internal_package_names_order):
            internal.update(made.get(package, {}))
        packages = {name: macros for name, macros in made.items() if name not in self.internal_package_names}
        is_root = self.root_package == self.search_package
        return MacroNamespace(
            global_namespace={} if is_root else packages.get(self.root_package, {}),
            local_namespace=packages.get(self.search_package, {}),
            global_project_namespace=internal,
            packages=packages,
        )

    def to_dict(self: ManifestContext) -> dict[str, Any]:
        found = inherited(self)
        if isinstance(self.namespace, TestMacroNamespace):
            parts = [self.namespace.local_namespace, self.namespace.project_namespace]
        else:
            parts = reversed(list(self.namespace._search_order()))
        for part in parts:
            found.update(part)
        return found

    MacroNamespaceBuilder.build_namespace = build_namespace  # type: ignore[method-assign]
    ManifestContext.to_dict = to_dict  # type: ignore[method-assign]


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
