"""Decides whether a browser page from some Origin may open a socket here."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime.scope import Scope, headers

DEFAULT_PORTS = {"http": "80", "https": "443"}


def is_allowed(scope: Scope) -> bool:
    """Answer whether the handshake's Origin is ours, trusted, or absent.

    Browsers always send one and cannot forge it; a client without one is a program, which no
    foreign page can drive.
    """
    origins = headers(scope, b"origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    try:
        origin = urlsplit(origins[0].lower())
        port = str(origin.port or DEFAULT_PORTS.get(origin.scheme, ""))
    except ValueError:
        return False
    if origin.scheme not in DEFAULT_PORTS or not origin.hostname:
        return False
    return _is_named(origin) or _is_trusted(origin) or _is_same(origin, port, scope)


def _allowed_hosts() -> list[str]:
    # The same fallback as django.http.HttpRequest.get_host.
    return settings.ALLOWED_HOSTS or (
        [".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else []
    )


def _host(origin: SplitResult) -> str:
    name = origin.hostname or ""
    return f"[{name}]" if ":" in name else name


def _is_named(origin: SplitResult) -> bool:
    """`*` allows every Host header, which does not make every page on the web ours."""
    return validate_host(_host(origin), [host for host in _allowed_hosts() if host != "*"])


def _is_trusted(origin: SplitResult) -> bool:
    for trusted in map(urlsplit, settings.CSRF_TRUSTED_ORIGINS):
        if trusted.scheme != origin.scheme:
            continue
        if trusted.netloc == origin.netloc:
            return True
        if trusted.netloc.startswith("*.") and origin.netloc.endswith(trusted.netloc[1:]):
            return True
    return False


def _is_same(origin: SplitResult, port: str, scope: Scope) -> bool:
    hosts = headers(scope, b"host")
    if len(hosts) != 1:
        return False
    name, host_port = split_domain_port(hosts[0].lower())
    if not name or not validate_host(name, _allowed_hosts()):
        return False
    return name == _host(origin) and port == (host_port or DEFAULT_PORTS[origin.scheme])
