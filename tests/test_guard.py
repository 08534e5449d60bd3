"""The host guard: loopback, or what was allowed by name."""

from __future__ import annotations

import pytest

from licensing_harness.errors import GuardRefused, TargetNotReady, UsageError
from licensing_harness.target.guard import check_target, is_loopback, masked_url


def nowhere(host: str, port: int) -> list[str]:
    raise OSError(-2, "Name or service not known")


def resolves_to(*addresses: str):  # noqa: ANN201
    return lambda host, port: list(addresses)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8080", "http://127.9.9.9", "http://[::1]:8080", "http://localhost:1", "https://localhost"],
)
def test_loopback_is_driven(url: str) -> None:
    """Loopback addresses and localhost need no permission."""
    assert check_target(url).url == url


def test_the_endpoint_is_taken_apart() -> None:
    """Scheme, host, port, path and the judged address; the trailing slash goes."""
    endpoint = check_target("http://LocalHost/base/", resolve=resolves_to("127.0.0.1"))
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.path) == ("http", "localhost", 80, "/base")
    assert (endpoint.url, endpoint.address, endpoint.authority) == ("http://localhost/base", "127.0.0.1", "localhost")
    assert check_target("http://[::1]:8080").authority == "[::1]:8080"


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1", "https://192.0.2.1:8443/x", "http://0.0.0.0", "http://[2001:db8::1]"]
)
def test_another_host_is_refused(url: str) -> None:
    """An address beside loopback is refused with the option that would allow it."""
    with pytest.raises(GuardRefused, match="is not a loopback host") as caught:
        check_target(url)
    assert "--licensing-allow-host" in str(caught.value)
    assert caught.value.exit_code == 13


def test_a_name_is_judged_by_its_addresses() -> None:
    """A name that resolves to another machine, even beside loopback, is refused; one at home is driven."""
    with pytest.raises(GuardRefused, match=r"licences.test \(192.0.2.7\) is not a loopback host"):
        check_target("http://licences.test", resolve=resolves_to("127.0.0.1", "192.0.2.7"))
    assert check_target("http://licences.test", resolve=resolves_to("127.0.0.1")).address == "127.0.0.1"
    with pytest.raises(GuardRefused, match="localhost"):
        check_target("http://localhost", resolve=resolves_to("192.0.2.7"))


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        (("*.staging.test",), True),
        (("A.Staging.TEST",), True),
        (("staging.test",), False),
        ((), False),
        (("b.*", "a.*"), True),
    ],
)
def test_globs_allow_hosts(allow: tuple[str, ...], allowed: bool) -> None:
    """A glob allows the hosts it matches, in any case, and no others."""

    def check() -> str:
        return check_target("http://a.staging.test", allow=allow, resolve=resolves_to("192.0.2.7")).address

    if allowed:
        assert check() == "192.0.2.7"
    else:
        with pytest.raises(GuardRefused):
            check()


def test_a_name_that_does_not_resolve() -> None:
    """The target is not ready, and the name is told."""
    with pytest.raises(TargetNotReady, match=r"licences\.test can't be resolved"):
        check_target("http://licences.test", resolve=nowhere)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:8080", "is no URL to drive: write http://HOST:PORT"),
        ("ftp://localhost", "is no URL to drive"),
        ("http://", "is no URL to drive"),
        ("http://localhost:0", "is no URL to drive"),
        ("http://localhost:port", "is no URL"),
        ("http://localhost:99999", "is no URL"),
        ("http://[::1", "is no URL"),
        ("", "is no URL to drive"),
        ("http://localhost/?a=1", "has no query"),
        ("http://localhost/#a", "has no query"),
    ],
)
def test_what_is_no_url(url: str, says: str) -> None:
    """Each is a usage error that says what to write."""
    with pytest.raises(UsageError, match=says):
        check_target(url)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """Credentials in a URL end up in reports: the error names the way out and not the password."""
    with pytest.raises(UsageError, match="LICENSING_SECRET_<NAME>") as caught:
        check_target("http://admin:hunter2@localhost:8080/x")
    assert "hunter2" not in str(caught.value)
    assert "http://localhost:8080/x" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/x?token=s#f", "http://h:1/x"),
        ("http://h", "http://h"),
        ("u:p@h", "u:p@h"),
    ],
)
def test_masked_url(url: str, shown: str) -> None:
    """User, password, query and fragment are left out."""
    assert masked_url(url) == shown


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("localhost", False),
    ],
)
def test_is_loopback(address: str, inside: bool) -> None:
    """Only addresses that stay on this machine."""
    assert is_loopback(address) is inside
