"""Target strings of the simulated world: ``asgi:module:factory?name=value&...``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl

from licensing_harness.errors import NotRun, UsageError
from licensing_harness.worlds.asgi import AsgiApp

PREFIX: Final = "asgi:"
MOST_NODES: Final = 9
_NODES: Final = "nodes"
FORM: Final = "asgi:module:factory?name=value"
_SERVER_EXTRA: Final = frozenset({"starlette", "sqlalchemy", "alembic", "uvicorn", "uvloop", "httptools", "psycopg"})


@dataclass(frozen=True, slots=True)
class SimulatedTarget:
    """A factory by name, and the options it is called with."""

    module: str
    factory: str
    options: tuple[tuple[str, str], ...] = ()
    nodes: int = 1
    """How many nodes it has: the option ``nodes``, which the factory does not get."""

    def __str__(self) -> str:
        options = (*self.options, *((("nodes", str(self.nodes)),) if self.nodes > 1 else ()))
        query = "&".join(f"{name}={value}" for name, value in options)
        return f"{PREFIX}{self.module}:{self.factory}" + (f"?{query}" if query else "")

    @classmethod
    def parse(cls, text: str) -> SimulatedTarget:
        """Read a target string and make sure that its factory exists.

        Raises UsageError that says what is wrong and what to do.
        """
        if not text.startswith(PREFIX):
            message = f"{text!r} is no simulated target; give {FORM}"
            raise UsageError(message)
        name, _, query = text.removeprefix(PREFIX).partition("?")
        module, _, factory = name.partition(":")
        if not module or not factory.isidentifier():
            message = f"{text!r} names no factory; give {FORM}"
            raise UsageError(message)
        try:
            options = tuple(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else ()
        except ValueError as error:
            message = f"{text!r}: the options can't be read ({error}); give {FORM}"
            raise UsageError(message) from error
        said = dict(options).get(_NODES, "1")
        if not (said.isdecimal() and 1 <= int(said) <= MOST_NODES):
            message = f"{text!r}: nodes={said} is no number of nodes; give 1 to {MOST_NODES}"
            raise UsageError(message)
        target = cls(module, factory, tuple(each for each in options if each[0] != _NODES), int(said))
        target.load()
        return target

    def load(self) -> Callable[..., Any]:
        """The factory. Raises UsageError when it can't be imported or is not there."""
        try:
            module = importlib.import_module(self.module)
        except ImportError as error:
            raise UsageError(_not_importable(self, error)) from error
        factory = getattr(module, self.factory, None)
        if not callable(factory):
            message = f"{self}: the module {self.module} has no factory {self.factory!r}"
            raise UsageError(message)
        return factory  # type: ignore[no-any-return]

    def build(
        self,
        clock: Callable[[], float],
        entropy: Callable[[int], bytes],
        keys: bytes,
        store: object,
        offered: Mapping[str, object] | None = None,
    ) -> AsgiApp:
        """The application, newly made by ``factory(clock, entropy, keys, store, **options)``.

        Of what is ``offered`` beside these it gets what its signature names.

        Raises NotRun for a plain ASGI application, UsageError when the factory
        takes other arguments, refuses an option, or makes nothing callable.
        """
        factory = self.load()
        given = (clock, entropy, keys, store)
        options: dict[str, Any] = dict(self.options)
        if _is_plain_app(factory):
            message = (
                f"{self} is a plain ASGI application: it brings its own clock and store, which can't be simulated. "
                "Give a factory(clock, entropy, keys, store), or run it in the live world by its URL."
            )
            raise NotRun(message)
        signature = _signature(factory)
        wanted = {name: value for name, value in (offered or {}).items() if name in signature.parameters}
        try:
            signature.bind(*given, **{**wanted, **options})
        except TypeError as error:
            message = (
                f"{self}: can't be called as {self.factory}(clock, entropy, keys, store{_named(options)}): {error}"
            )
            raise UsageError(message) from error
        try:
            app = factory(*given, **{**wanted, **options})
        except Exception as error:
            message = f"{self}: the factory refused its options: {error}"
            raise UsageError(message) from error
        if not callable(app):
            message = f"{self}: the factory made {type(app).__name__}, which is no ASGI application"
            raise UsageError(message)
        return app  # type: ignore[no-any-return]


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    """As inspect's, worked out once: a target is built at every start."""
    kept: Callable[[Any], inspect.Signature] = _kept_signature if _hashable(factory) else inspect.signature
    return kept(factory)


_kept_signature: Final = lru_cache(maxsize=32)(inspect.signature)


def _hashable(what: object) -> bool:
    return isinstance(what, Hashable)


def _is_plain_app(factory: Callable[..., Any]) -> bool:
    """Whether this takes (scope, receive, send)."""
    call = factory if inspect.isfunction(factory) or inspect.isclass(factory) else type(factory).__call__
    names = [name for name in _signature(call).parameters if name != "self"]
    return names[:3] == ["scope", "receive", "send"]


def _named(options: dict[str, str]) -> str:
    return "".join(f", {name}=..." for name in options)


def _not_importable(target: SimulatedTarget, error: ImportError) -> str:
    missing = (error.name or "").partition(".")[0]
    if missing in _SERVER_EXTRA:
        return f"{target} needs {missing}, which is not installed: python -m pip install 'licensing-harness[server]'"
    if isinstance(error, ModuleNotFoundError) and (target.module + ".").startswith(f"{error.name}."):
        return f"{target}: there is no module {error.name!r}; install it, or run from the directory that holds it"
    return f"{target}: importing {target.module} failed: {error}"
