"""The import arrows of docs/architecture.md, the sizes, and where things may be named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APPS = ("tasks_app", "realtime")
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL = 5
MAX_LUA_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One module of ours: its dotted name, its syntax and what it imports."""

    path: Path

    @cached_property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def imports(self) -> set[str]:
        """Every module and every name taken from one, dotted."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = self.path.name == "__init__.py"
        parts = self.name.split(".")
        parts = parts[: len(parts) - node.level + is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def reaches(self, *packages: str) -> set[str]:
        return {name for name in self.imports if _within(name, packages)}

    def is_in(self, *packages: str) -> bool:
        return _within(self.name, packages)


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


MODULES = [
    Module(path)
    for top in (*APPS, "project")
    for path in sorted((ROOT / top).rglob("*.py"))
    if "migrations" not in path.parts
]


def violations(
    who: tuple[str, ...], never: tuple[str, ...], but: tuple[str, ...] = ()
) -> dict[str, set[str]]:
    """Return which modules in `who` import what they must not."""
    found = {
        module.name: {name for name in module.reaches(*never) if not _within(name, but)}
        for module in MODULES
        if module.is_in(*who)
    }
    return {name: reached for name, reached in found.items() if reached}


# --- arrows --------------------------------------------------------------------------------------


def test_there_is_something_to_check() -> None:
    names = {module.name for module in MODULES}
    assert {"tasks_app.api", "tasks_app.domain.states", "tasks_app.store.client"} <= names
    assert any(module.is_in("realtime") for module in MODULES)


def test_only_stores_import_redis() -> None:
    clients = ("redis", "django_redis", "channels_redis")
    found = violations((*APPS, "project"), clients)
    assert {name for name in found if ".store" not in name} == set()


def test_tasks_app_never_imports_realtime() -> None:
    assert violations(("tasks_app",), ("realtime",)) == {}


def test_realtime_reaches_tasks_app_only_through_its_public_modules() -> None:
    public = (
        "tasks_app.api",
        "tasks_app.backpressure",  # both answer slow clients under daphne, by Twisted's producer
        "tasks_app.errors",
        "tasks_app.domain.records",
        "tasks_app.services.tokens",  # who a token belongs to
        "tasks_app.services.access",  # who may see a task
        "tasks_app.task", "tasks_app.Retry", "tasks_app.RedisLock", "tasks_app.periodic",
        "tasks_app.TaskContext",
        "tasks_app.rest.extend",  # there is one REST API
    )  # fmt: skip
    # Redis is configured once, and a process has one set of connections per event loop: the stores
    # of both apps share the clients. Named one by one: none of the engine's keys or records.
    of_stores = (
        *public,
        "tasks_app.conf",
        "tasks_app.store.client",
        "tasks_app.store.scripts.Call",
        "tasks_app.store.scripts.Script",
        "tasks_app.store.subscriptions",
    )
    found = violations(("realtime",), ("tasks_app",), but=of_stores)
    found |= {
        name: reached
        for name, reached in violations(("realtime",), ("tasks_app",), but=public).items()
        if not _within(name, ("realtime.store",))
    }
    # `from tasks_app import api` names the package too.
    packages = {"tasks_app", "tasks_app.store", "tasks_app.store.scripts"}
    assert {name: rest for name, reached in found.items() if (rest := reached - packages)} == {}


def test_twisteds_back_pressure_stands_in_one_place() -> None:
    callbacks = {"pauseProducing", "resumeProducing", "stopProducing"}
    found = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and node.name in callbacks
    }
    assert found == {"tasks_app.backpressure"}


@pytest.mark.parametrize("app", APPS)
def test_domain_is_plain_python(app: str) -> None:
    others = tuple(
        sorted({f"{app}.{part}" for part in _parts(app)} - {f"{app}.domain"} - {f"{app}.errors"})
    )
    frameworks = ("django", "redis", "channels", "django_redis", "ninja", "httpx", "project")
    assert violations((f"{app}.domain",), (*frameworks, *others)) == {}


def _parts(app: str) -> set[str]:
    return {
        module.name.split(".")[1] for module in MODULES if module.is_in(app) and "." in module.name
    }


ADAPTERS = ("rest", "admin", "management", "consumers", "pages", "urls", "routing")


@pytest.mark.parametrize("app", APPS)
def test_stores_know_no_rules_and_no_adapters(app: str) -> None:
    above = (
        "services", "worker", "local", "coroutines", "api", "models", "generation", "supervisor",
        "rooms", *ADAPTERS,
    )  # fmt: skip
    never = tuple(f"{app}.{part}" for part in above)
    assert violations((f"{app}.store",), (*never, "django.http", "channels.generic")) == {}


@pytest.mark.parametrize("app", APPS)
def test_services_know_no_adapters(app: str) -> None:
    never = tuple(f"{app}.{part}" for part in (*ADAPTERS, "local", "coroutines"))
    assert violations((f"{app}.services",), (*never, "django.http", "channels", "ninja")) == {}


def test_the_worker_knows_no_adapters() -> None:
    never = tuple(f"tasks_app.{part}" for part in (*ADAPTERS, "local", "coroutines"))
    assert violations(("tasks_app.worker",), (*never, "django.http", "channels", "ninja")) == {}


def test_local_coroutines_stand_on_the_store_and_the_worker_alone() -> None:
    above = ("services", "coroutines", "api", "models", "generation", "supervisor", *ADAPTERS)
    never = tuple(f"tasks_app.{part}" for part in above)
    assert violations(("tasks_app.local",), (*never, "django", "channels", "ninja")) == {}


def test_rooms_know_no_channels() -> None:
    assert violations(("realtime.rooms", "realtime.documents"), ("channels",)) == {}


@pytest.mark.parametrize("app", APPS)
def test_adapters_do_not_reach_the_store(app: str) -> None:
    who = tuple(f"{app}.{part}" for part in ADAPTERS)
    assert violations(who, (f"{app}.store",)) == {}


def test_apps_do_not_import_the_project() -> None:
    assert violations(APPS, ("project",)) == {}


def test_djangos_tasks_api_is_imported_in_one_place() -> None:
    found = violations((*APPS, "project"), ("django_tasks", "django.tasks"))
    assert found.keys() == {"tasks_app.compat"}


def test_tests_helpers_stay_out_of_what_runs() -> None:
    found = violations((*APPS, "project"), ("pytest", "tasks_app.testing"))
    assert {name for name in found if not name.startswith("tasks_app.testing")} == set()
    assert "pytest" not in {top for name in found for top in found[name] if "plugin" not in name}


def test_the_supervisor_stands_beside_the_engine() -> None:
    never = tuple(
        f"tasks_app.{part}" for part in ("store", "worker", "services", "generation", "rest", "api")
    )
    assert violations(("tasks_app.supervisor",), never) == {}


# --- sizes ---------------------------------------------------------------------------------------


def functions(module: Module) -> Iterator[Function]:
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def test_modules_have_a_size_and_say_what_they_are_for() -> None:
    for module in MODULES:
        assert module.text.count("\n") <= MAX_MODULE_LINES, module.name
        if module.tree.body:
            assert ast.get_docstring(module.tree), f"{module.name} has no docstring"


def test_functions_have_a_size() -> None:
    long = {
        f"{module.name}.{function.name}": lines
        for module in MODULES
        for function in functions(module)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_functions_take_few_positional_parameters() -> None:
    many = {
        f"{module.name}.{function.name}"
        for module in MODULES
        for function in functions(module)
        if len([*function.args.posonlyargs, *function.args.args]) - _bound(function)
        > MAX_POSITIONAL
    }
    assert many == set()


def _bound(function: Function) -> int:
    first = [*function.args.posonlyargs, *function.args.args][:1]
    return int(bool(first) and first[0].arg in {"self", "cls"})


def test_lua_scripts_have_a_size_and_a_header() -> None:
    scripts = [path for app in APPS for path in (ROOT / app).rglob("*.lua")]
    assert scripts
    for path in scripts:
        text = path.read_text()
        assert text.startswith("--"), f"{path.name} has no header"
        if not path.name.startswith("_"):
            code = [line for line in text.splitlines() if line.strip() and line.strip()[:2] != "--"]
            assert len(code) <= MAX_LUA_LINES, f"{path.name}: {len(code)} lines of code"


# --- where things may be named -------------------------------------------------------------------

KEY_LIKE = re.compile(r"^(signalbox:|tasks:(item|commands)\b|session_pool|usage_pool|lock:\w*$)")
# Django's own names for the first superuser, and what a terminal says about itself and colours.
ENVIRONMENT_READERS = {
    "project.settings": "the one place",
    "project.env": "how it reads",
    "project.asgi": "names the settings",
    "tasks_app.supervisor.first_run": "DJANGO_SUPERUSER_*, as Django's createsuperuser reads them",
    "tasks_app.supervisor.console": "NO_COLOR, which belongs to the terminal",
    "tasks_app.supervisor.child": "hands the whole environment on",
    "realtime.bundle": "the same, to npm",
}


def test_redis_keys_are_named_in_keys_py_only() -> None:
    found = {
        f"{module.name}:{node.lineno}"
        for module in MODULES
        if not module.name.endswith("store.keys")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and KEY_LIKE.match(node.value)
    }
    assert found == set()


def test_the_environment_is_read_in_settings_only() -> None:
    found = {
        module.name
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert found - ENVIRONMENT_READERS.keys() == set()


def test_values_are_never_pickled() -> None:
    assert violations((*APPS, "project"), ("pickle", "marshal", "shelve")) == {}


BROAD = {"Exception", "BaseException"}


def test_broad_excepts_say_why() -> None:
    silent = {
        f"{module.name}:{handler.lineno}"
        for module in MODULES
        for handler in ast.walk(module.tree)
        if isinstance(handler, ast.ExceptHandler) and _is_broad(handler)
        if not _explained(module, handler)
    }
    assert silent == set()


def _is_broad(handler: ast.ExceptHandler) -> bool:
    names = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(name is None or (isinstance(name, ast.Name) and name.id in BROAD) for name in names)


def _explained(module: Module, handler: ast.ExceptHandler) -> bool:
    """Say whether it raises again, or a comment stands at it or directly above or below."""
    if any(isinstance(node, ast.Raise) for node in ast.walk(handler)):
        return True
    lines = module.text.splitlines()
    return any("# " in line for line in lines[handler.lineno - 2 : handler.lineno + 1])
