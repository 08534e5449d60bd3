"""The routes as a table: a request finds its endpoint by one look-up, without trying one pattern after the other.

It holds what is plain: exact paths, and paths with one parameter between slashes.
Whatever is not found here is the router's, which also knows how to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.routing import Route

from reference_server.http.wire import Scope


class RouteTable:
    """The endpoints of some routes, by method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Any] = {}
        self._around: dict[str, dict[tuple[str, str], tuple[Any, str]]] = {}
        """By what stands before the parameter: by method and what stands behind it, the endpoint and its parameter."""
        for route in routes:
            before, brace, rest = route.path.partition("{")
            name, _, behind = rest.partition("}")
            for method in route.methods or ():
                if not brace:
                    self._exact[method, route.path] = route.endpoint
                elif "{" not in behind and ":" not in name and before.endswith("/") and behind[:1] in {"", "/"}:
                    self._around.setdefault(before, {})[method, behind] = route.endpoint, name

    def find(self, scope: Scope) -> Any:
        """The endpoint for this request, with ``path_params`` put into its scope; None for one that is not here."""
        method, path = scope["method"], scope["path"]
        endpoint = self._exact.get((method, path))
        if endpoint is not None:
            scope["path_params"] = {}
            return endpoint
        for before, behind in self._around.items():
            if path.startswith(before):
                value, slash, rest = path[len(before) :].partition("/")
                found = behind.get((method, slash + rest))
                if found is not None and value:
                    endpoint, name = found
                    scope["path_params"] = {name: value}
                    return endpoint
        return None
