"""The one seam through which Toxiproxy is driven by the package ``toxiproxy-python``.

The package (0.1.1) keeps host and port in class globals, sets no deadline, reads
a 5xx as success and answers from what it asked for instead of what is. Here
each client has copies of its own of the package's two modules and an own HTTP
session; every call has a deadline; every status of 400 and more is a typed
error; after every change the state is read back and compared. So a fault that
could not be set or removed is never a passed drill.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import requests

from licensing_harness.errors import HarnessError, UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


class ToxiproxyUnreachable(HarnessError):
    """No usable answer from Toxiproxy within the deadline."""


class ToxiproxyRefused(HarnessError):
    """Toxiproxy answered a call with a status of 300 or more, which is in ``status``."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ToxiproxyDiffers(HarnessError):
    """Toxiproxy said yes, and what it then shows is not what was asked for."""


class _Consumer:
    """What the package's modules call ``APIConsumer``, for one server, and not deaf to errors."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.host = host
        self.port = port
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # an HTTP_PROXY of the environment is not for loopback

    def get(self, url: str, params: Any = None, **rest: Any) -> requests.Response:
        return self.send("GET", url, params=params, **rest)

    def delete(self, url: str, **rest: Any) -> requests.Response:
        return self.send("DELETE", url, **rest)

    def post(self, url: str, data: Any = None, json: Any = None, **rest: Any) -> requests.Response:
        return self.send("POST", url, data=data, json=json, **rest)

    def send(self, method: str, url: str, **rest: Any) -> requests.Response:
        where = f"Toxiproxy at {self.host}:{self.port}"
        try:
            answer = self._session.request(
                method, f"http://{self.host}:{self.port}{url}", timeout=self._timeout, allow_redirects=False, **rest
            )
        except requests.RequestException as error:
            message = f"{where} gave no answer to {method} {url} within {self._timeout:g} s: {type(error).__name__}"
            raise ToxiproxyUnreachable(message) from error
        if answer.status_code >= 300:  # noqa: PLR2004 - redirects are no answer of Toxiproxy's API either
            text = answer.text.strip()[:200]
            message = f"{where} answered {method} {url} with {answer.status_code}: {text}"
            raise ToxiproxyRefused(message, answer.status_code)
        return answer

    def close(self) -> None:
        self._session.close()


def _own_copy(name: str) -> Any:
    """A copy of one of the package's modules, so that its globals are one client's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own imports are from 2019
        spec = importlib.util.find_spec(f"toxiproxy.{name}")
        if spec is None or spec.loader is None:
            message = "the package toxiproxy-python is not installed: pip install licensing-harness"
            raise UsageError(message)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class ToxiproxyClient:
    """One Toxiproxy server, each change verified.

    Every method raises ToxiproxyUnreachable, ToxiproxyRefused or
    ToxiproxyDiffers, all of them HarnessError. ``timeout`` is seconds a call.
    """

    def __init__(self, host: str, port: int, *, timeout: float = 5.0) -> None:
        self._consumer = _Consumer(host, port, timeout)
        proxies, server = _own_copy("proxy"), _own_copy("server")
        proxies.APIConsumer = server.APIConsumer = self._consumer
        server.Proxy = proxies.Proxy
        self._server = server.Toxiproxy()

    def close(self) -> None:
        """Close the connections to the server; what was set stays set."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading ----------------------------------------------------------------------------------

    def version(self) -> str:
        """The server's version, such as ``2.12.0``."""
        return str(_json(self._consumer.get("/version"))["version"])

    def proxies(self) -> dict[str, Any]:
        """The package's ``Proxy`` objects by name."""
        return dict(self._read(self._server.proxies))

    def proxy(self, name: str) -> Any:
        """The package's ``Proxy`` object. Raises ToxiproxyDiffers when there is none."""
        found = self._read(self._server.get_proxy, _named(name))
        if found is None:
            message = f"Toxiproxy shows no proxy {name!r}"
            raise ToxiproxyDiffers(message)
        return found

    def toxics(self, proxy: str) -> dict[str, Any]:
        """The package's ``Toxic`` objects of a proxy by name."""
        return dict(self._read(self.proxy(proxy).toxics))

    # Changing ---------------------------------------------------------------------------------

    def create(self, *, name: str, upstream: str, listen: str = "127.0.0.1:0") -> Any:
        """Make an enabled proxy and return it as the server then shows it."""
        self._read(self._server.create, upstream=upstream, name=_named(name), listen=listen, enabled=True)
        shown = self.proxy(name)
        _same(f"proxy {name!r}", {"upstream": upstream, "enabled": True}, vars(shown))
        if listen.rpartition(":")[2] != "0":
            _same(f"proxy {name!r}", {"listen": listen}, vars(shown))
        return shown

    def populate(self, proxies: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Make or replace proxies in one call to ``/populate``, which the package does not use."""
        wanted = [dict(each) for each in proxies]
        for each in wanted:
            _named(str(each.get("name", "")))
        self._consumer.post("/populate", json=wanted)
        shown = self.proxies()
        for each in wanted:
            _same(f"proxy {each['name']!r}", {"upstream": each["upstream"]}, vars(self.proxy(each["name"])))
        return shown

    def destroy(self, name: str) -> None:
        """Remove a proxy."""
        self._read(self.proxy(name).destroy)
        if name in self.proxies():
            message = f"Toxiproxy still shows the proxy {name!r} after it was removed"
            raise ToxiproxyDiffers(message)

    def enable(self, name: str) -> None:
        """Let a proxy listen again."""
        self._read(self.proxy(name).enable)
        _same(f"proxy {name!r}", {"enabled": True}, vars(self.proxy(name)))

    def disable(self, name: str) -> None:
        """Refuse new connections and close those that are open."""
        self._read(self.proxy(name).disable)
        _same(f"proxy {name!r}", {"enabled": False}, vars(self.proxy(name)))

    def add_toxic(
        self,
        proxy: str,
        *,
        name: str,
        type: str,  # noqa: A002 - Toxiproxy's own word
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, int] | None = None,
    ) -> Any:
        """Put a toxic on a proxy and return it as the server then shows it."""
        asked = {
            "name": _named(name),
            "type": type,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": dict(attributes or {}),
        }
        self._read(self.proxy(proxy).add_toxic, **asked)
        return self._toxic_as(proxy, asked)

    def update_toxic(self, proxy: str, name: str, **attributes: int) -> Any:
        """Change a toxic's attributes, which the package can't."""
        url = f"/proxies/{_named(proxy)}/toxics/{_named(name)}"
        self._consumer.post(url, json={"attributes": attributes})
        return self._toxic_as(proxy, {"name": name, "attributes": attributes})

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Take a toxic off a proxy, and see that it is gone."""
        self._read(self.proxy(proxy).destroy_toxic, _named(name))
        if name in self.toxics(proxy):
            message = f"Toxiproxy still shows the toxic {name!r} on {proxy!r} after it was removed"
            raise ToxiproxyDiffers(message)

    def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        self._read(self._server.reset)
        for name, shown in self.proxies().items():
            _same(f"proxy {name!r}", {"enabled": True}, vars(shown))
            if left := self.toxics(name):
                message = f"Toxiproxy still shows toxics on {name!r} after a reset: {', '.join(left)}"
                raise ToxiproxyDiffers(message)

    def _toxic_as(self, proxy: str, asked: Mapping[str, Any]) -> Any:
        shown = self.toxics(proxy).get(asked["name"])
        if shown is None:
            message = f"Toxiproxy does not show the toxic {asked['name']!r} that it was asked for on {proxy!r}"
            raise ToxiproxyDiffers(message)
        _same(f"toxic {asked['name']!r}", {k: v for k, v in asked.items() if k != "attributes"}, vars(shown))
        _same(f"toxic {asked['name']!r}", asked["attributes"], shown.attributes)
        return shown

    def _read(self, call: Any, *args: Any, **rest: Any) -> Any:
        """Call into the package; what it can't read of an answer is an error of the server's."""
        try:
            return call(*args, **rest)
        except HarnessError:
            raise
        except Exception as error:
            where = f"{self._consumer.host}:{self._consumer.port}"
            message = f"{where} does not answer as Toxiproxy does: {type(error).__name__}: {error}"
            raise ToxiproxyDiffers(message) from error


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        message = f"{answer.url} does not answer as Toxiproxy does: {answer.text[:100]!r}"
        raise ToxiproxyDiffers(message) from error


def _same(what: str, asked: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    for name, value in asked.items():
        if shown.get(name) != value:
            message = f"Toxiproxy was asked for {what} with {name}={value!r} and shows {shown.get(name)!r}"
            raise ToxiproxyDiffers(message)


def _named(name: str) -> str:
    """A name that fits into a path as it is: the package does not quote. Raises UsageError."""
    if not _NAME.fullmatch(name):
        message = f"{name!r} is no name for a proxy or toxic: use letters, digits, '.', '_' and '-'"
        raise UsageError(message)
    return name
