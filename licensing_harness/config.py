"""What a run was asked to do, and who said so.

Precedence: command line, environment, pytest's ini file, the ``[target]`` of a
drill, ``licensing-harness.toml``, default. Every value keeps its source; what can't be read is a UsageError that
names the source and the way out.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from licensing_harness.errors import UsageError, way_out
from licensing_harness.options import BY_NAME, CONFIG_FILE, OPTIONS, SECRET_PREFIX, Option

ASGI: Final = "asgi:"
"""A target that is made in-process; anything else is a URL."""

_SWITCH: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Value:
    """A setting and where it came from."""

    value: Any
    source: str


class Config:
    """The settings of one run, read-only. ``sources`` says where each came from."""

    def __init__(self, values: Mapping[str, Value], secrets: Mapping[str, str] | None = None) -> None:
        self._values = {option.name: values.get(option.name, Value(option.default, _DEFAULT)) for option in OPTIONS}
        self.secrets = dict(secrets or {})
        """By lower-case name, from LICENSING_SECRET_<NAME>."""

    def __iter__(self) -> Iterator[tuple[Option, Value]]:
        return ((option, self._values[option.name]) for option in OPTIONS)

    def source(self, name: str) -> str:
        """Where the option's value came from."""
        return self._values[name].source

    def given(self, name: str) -> bool:
        """Whether anyone set the option."""
        return self.source(name) != _DEFAULT

    def _get(self, name: str) -> Any:
        return self._values[name].value

    @property
    def target(self) -> str | None:
        """A URL, ``asgi:module:factory``, or None for the reference server."""
        return self._get("target")  # type: ignore[no-any-return]

    @property
    def adapter(self) -> str | None:
        """``module:class``."""
        return self._get("adapter")  # type: ignore[no-any-return]

    @property
    def control(self) -> str | None:
        """``module:class``."""
        return self._get("control")  # type: ignore[no-any-return]

    @property
    def world(self) -> str:
        """``live``, ``simulated`` or ``both``."""
        return str(self._get("world"))

    @property
    def depth(self) -> str:
        """``smoke``, ``ci`` or ``nightly``."""
        return str(self._get("depth"))

    @property
    def only(self) -> tuple[str, ...]:
        """Families or promises; empty for all."""
        return tuple(self._get("only"))

    @property
    def seed(self) -> int | None:
        """None: draw one."""
        return self._get("seed")  # type: ignore[no-any-return]

    @property
    def seeds(self) -> int:
        """How many seeds every simulated scenario runs under."""
        return int(self._get("seeds"))

    @property
    def faults(self) -> str:
        """``off``, ``embedded``, ``toxiproxy`` or the URL of a Toxiproxy."""
        return str(self._get("faults"))

    @property
    def store(self) -> str | None:
        """The URL of a PostgreSQL whose outages are tried."""
        return self._get("store")  # type: ignore[no-any-return]

    @property
    def allow_host(self) -> tuple[str, ...]:
        """Globs of hosts that may be driven beside loopback."""
        return tuple(self._get("allow-host"))

    @property
    def max_requests(self) -> int:
        """The request cap of a run."""
        return int(self._get("max-requests"))

    @property
    def report(self) -> Path:
        """The directory that holds ``runs/``."""
        return Path(self._get("report"))

    @property
    def require(self) -> tuple[str, ...]:
        """Capabilities that must not be skipped."""
        return tuple(self._get("require"))

    @property
    def keep(self) -> bool:
        """Leave the server we started running."""
        return bool(self._get("keep"))

    @property
    def defect(self) -> str | None:
        """A bug to plant in the reference server."""
        return self._get("defect")  # type: ignore[no-any-return]

    @property
    def in_process(self) -> bool:
        """The target is ``asgi:...``."""
        return self.target is not None and self.target.startswith(ASGI)

    def worlds(self) -> tuple[str, ...]:
        """The worlds that scenarios are collected for.

        A world that was asked for by name is kept even where the target can't
        run in it: its scenarios are then *not run*, with the reason.
        """
        if self.world != "both":
            return (self.world,)
        if self.target is None or self.given("world"):
            return ("simulated", "live")
        return ("simulated",) if self.in_process else ("live",)

    def impossible(self, world: str) -> str | None:
        """Why the target can't run in ``world``, or None."""
        if self.target is None:
            return None
        if world == "live" and self.in_process:
            return "the live world needs a URL; this target is asgi:"
        if world == "simulated" and not self.in_process:
            return "the simulated world needs an asgi:module:factory target; this one is a URL"
        return None

    def naming(self) -> dict[str, str]:
        """How the target was named, as far as it was: what it takes to drive the same one again."""
        named = {name: self._get(name) for name in ("target", "adapter", "control", "defect")}
        return {name: str(value) for name, value in named.items() if value is not None}

    def arguments(self) -> list[str]:
        """These settings as pytest flags: what was left at its default is left out."""
        flags: list[str] = []
        for option, value in self:
            if value.source == _DEFAULT or value.value is None:
                continue
            match option.kind:
                case "switch":
                    flags += [option.flag] if value.value else []
                case "list":
                    flags += [f"{option.flag}={','.join(value.value)}"] if value.value else []
                case _:
                    flags.append(f"{option.flag}={value.value}")
        return flags


def resolve(
    *,
    command_line: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    ini: Mapping[str, Value] | None = None,
    directories: Iterable[Path] = (),
    stated: Mapping[str, Value] | None = None,
    flag: Callable[[Option], str] = lambda option: option.flag,
) -> Config:
    """Settle every option.

    ``command_line`` holds values by ``Option.key`` (None: not given) and
    ``flag`` names them; ``ini`` comes from pytest or :func:`read_ini`;
    ``licensing-harness.toml`` is taken from the first of ``directories`` that
    has one, and ``stated``, by option's name, wins over that alone. Raises UsageError.
    """
    values: dict[str, Value] = dict(_from_toml(directories))
    for name, given in [*(stated or {}).items(), *(ini or {}).items()]:
        values[name] = Value(parse(BY_NAME[name], given.value, given.source), given.source)
    secrets: dict[str, str] = {}
    for variable, text in (environ or {}).items():
        if variable.startswith(SECRET_PREFIX):
            secrets[variable.removeprefix(SECRET_PREFIX).lower()] = text
    for option in OPTIONS:
        text = (environ or {}).get(option.env, "")
        if text:
            values[option.name] = Value(parse(option, text, option.env), option.env)
        raw = (command_line or {}).get(option.key)
        if raw is not None:
            values[option.name] = Value(parse(option, raw, flag(option)), flag(option))
    config = Config(values, secrets)
    _check(config)
    return config


def parse(option: Option, raw: Any, source: str) -> Any:
    """``raw`` as the option's type. Raises UsageError that names the source."""
    match option.kind, raw:
        case "switch", bool():
            return raw
        case "switch", str() if raw.strip().lower() in _SWITCH:
            return _SWITCH[raw.strip().lower()]
        case "switch", _:
            message = f"{source}: {raw!r} is neither true nor false"
            raise UsageError(message)
        case "number", int() if not isinstance(raw, bool):
            number = raw
        case "number", _:
            try:
                number = int(str(raw).strip().replace("_", ""))
            except ValueError:
                message = f"{source}: {raw!r} is not a whole number"
                raise UsageError(message) from None
        case "list", str():
            return tuple(part for each in raw.split(",") if (part := each.strip()))
        case "list", list() | tuple() if all(isinstance(each, str) for each in raw):
            return tuple(part for each in raw for part in parse(option, each, source))
        case "text", str() if raw.strip():
            text = raw.strip()
            if option.choices and text not in option.choices:
                message = f"{source}: {text!r} is none of {', '.join(option.choices)}"
                raise UsageError(message)
            return text
        case _:
            kind = "a list of texts" if option.kind == "list" else "a text"
            message = f"{source}: expected {kind}, got {raw!r}"
            raise UsageError(message)
    if number < option.least:
        message = f"{source}: {number} is too small; give {option.least} or more"
        raise UsageError(message)
    return number


def _from_toml(directories: Iterable[Path]) -> Iterator[tuple[str, Value]]:
    path = next((each / CONFIG_FILE for each in directories if (each / CONFIG_FILE).is_file()), None)
    if path is None:
        return
    for key, raw in _load(path).items():
        option = BY_NAME.get(key)
        if option is None:
            message = f"{path.name}: unknown key {key!r}; {way_out(key, BY_NAME)}"
            raise UsageError(message)
        source = f"{path.name}: {key}"
        yield option.name, Value(parse(option, raw, source), source)


def read_ini(path: Path | None) -> dict[str, Value]:
    """Our keys of a pytest configuration file (``pyproject.toml``, ``pytest.toml``, ``pytest.ini``, ...).

    Raises UsageError for a key ``licensing_...`` that is no option: outside
    pytest's strict mode pytest itself would only warn.
    """
    found: dict[str, Value] = {}
    for key, raw in _ini_table(path).items() if path is not None and path.is_file() else ():
        if not key.startswith("licensing_"):
            continue
        option = next((each for each in OPTIONS if each.ini == key), None)
        where = f"{path.name}: {key}" if path is not None else key
        if option is None:
            message = f"{where}: unknown key; {way_out(key, [each.ini for each in OPTIONS])}"
            raise UsageError(message)
        found[option.name] = Value(raw, where)
    return found


def find_ini(directory: Path) -> Path | None:
    """The file of ``directory`` in which pytest would find its configuration."""
    names = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
    return next((path for name in names if (path := directory / name).is_file() and _ini_table(path)), None)


def _ini_table(path: Path) -> dict[str, Any]:
    if path.suffix == ".toml":
        document = _load(path)
        table = document.get("tool", {}).get("pytest", {}) or document.get("pytest", {})
        return dict(table.get("ini_options", table))
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        message = f"{path}: can't be read: {error}"
        raise UsageError(message.replace("\n", " ")) from error
    section = "tool:pytest" if path.suffix == ".cfg" else "pytest"
    return dict(parser[section]) if parser.has_section(section) else {}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        message = f"{path}: can't be read: {error}"
        raise UsageError(message) from error


def _check(config: Config) -> None:
    """What no option can say alone. Raises UsageError."""
    target = config.target
    if target is None:
        return  # the reference server; an adapter of the user's own may speak to it
    if not target.startswith((ASGI, "http://", "https://")):
        message = f"{config.source('target')}: {target!r} is no target; give http(s)://HOST or asgi:module:factory"
        raise UsageError(message)
    if config.defect is not None:
        message = f"{config.source('defect')}: defects are planted in the reference server only; leave the target out"
        raise UsageError(message)
    if config.adapter is None:
        message = f"{config.source('target')}: a target needs an adapter: add --licensing-adapter module:Class"
        raise UsageError(message)
