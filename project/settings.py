"""Django settings: everything comes from the environment, with defaults that work on a laptop."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import django
import environ
from django.core.exceptions import ImproperlyConfigured

from project import env, first_values, topology

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

DEBUG = env.flag("DEBUG")


def _secret_key() -> str:
    """Return SECRET_KEY, or in DEBUG one kept in var/secret_key (mode 0600)."""
    key = env.text("SECRET_KEY")
    if key:
        return key
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it to a long random text, or set DEBUG=1 on your own "
            "machine, where one is made for you."
        )
    path = VAR_DIR / "secret_key"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        # Of several processes that start at once one links its file, whole; all read that one.
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:  # its mode is 0600
            file.write(secrets.token_urlsafe(50))
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text().strip()


SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "daphne",  # first: it installs Twisted's asyncio reactor before anything else imports one
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "servestatic",
    *(() if django.VERSION >= (6,) else ("django_tasks",)),  # Django 6 has it built in
    "ninja",
    "constance",
    "tasks_app",
    "realtime",
]

MIDDLEWARE = [
    "tasks_app.rest.edges.known_host",
    "django.middleware.security.SecurityMiddleware",
    "realtime.static_files.LateStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- database -----------------------------------------------------------------------------------


def _database() -> dict[str, Any]:
    config: dict[str, Any] = environ.Env.db_url_config(
        env.text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}")
    )
    if config["ENGINE"].endswith("sqlite3"):
        VAR_DIR.mkdir(exist_ok=True)
        # WAL lets readers go on while one writes; IMMEDIATE makes writers wait instead of failing.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    elif size := env.number("DATABASE_POOL_SIZE", 0):
        config.setdefault("OPTIONS", {})["pool"] = {"min_size": 1, "max_size": size, "timeout": 5}
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: CACHES is the one place where it is configured ---------------------------------------

EMBEDDED_REDIS_DIR = VAR_DIR / "redis"
EMBEDDED_REDIS = not (env.text("REDIS_URL") or env.text("REDIS_SENTINELS"))
MAX_SOCKET_PATH_BYTES = 100  # the operating system allows a few more


def _embedded_socket() -> Path:
    """Return a path that a socket may have, the same in every process."""
    path = EMBEDDED_REDIS_DIR / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"signalbox-{os.geteuid()}-{name}" / "redis.sock"


EMBEDDED_REDIS_SOCKET = _embedded_socket()
_redis = topology.read(f"unix://{quote(str(EMBEDDED_REDIS_SOCKET))}")
REDIS_URL = _redis.url
REDIS_KEY_PREFIX = _redis.prefix
REDIS_CLUSTER = _redis.cluster

CACHES = topology.caches(_redis)
CHANNEL_LAYERS = topology.channel_layers(_redis)

# --- the task engine ----------------------------------------------------------------------------

TASKS = {"default": {"BACKEND": "tasks_app.backend.SignalboxBackend", "QUEUES": []}}
TASK_LEASE_SECONDS = env.seconds("TASK_LEASE_SECONDS", 15.0, minimum=1.0)
TASK_RETENTION_SECONDS = env.seconds("TASK_RETENTION_SECONDS", 86400.0)
TASK_MAX_PAYLOAD_BYTES = env.number("TASK_MAX_PAYLOAD_BYTES", 1024 * 1024, minimum=1024)
TASK_MAX_DELIVERIES = env.number("TASK_MAX_DELIVERIES", 3, minimum=1)
CLEANUP_LOCK_SECONDS = env.seconds("CLEANUP_LOCK_SECONDS", 60.0, minimum=1.0)
THREAD_POOL_SIZE = env.number("THREAD_POOL_SIZE", 8, minimum=1)

# --- the realtime layer --------------------------------------------------------------------------

SESSION_TIMEOUT_SECONDS = env.seconds("SESSION_TIMEOUT_SECONDS", 120.0, minimum=1.0)
USAGE_TIMEOUT_SECONDS = env.seconds("USAGE_TIMEOUT_SECONDS", 3.0, minimum=0.5)
# A function of user and room that says who may be in a named room, asked at every action.
SIGNALBOX_ROOM_ACCESS = "realtime.access.public_rooms"

# --- AI providers: several are separated by ";" --------------------------------------------------

OPENAI_API_BASE_URL = env.words("OPENAI_API_BASE_URL", separator=";")
OPENAI_API_KEY = [key.strip() for key in env.text("OPENAI_API_KEY").split(";")]
OPENAI_API_TYPE = env.words("OPENAI_API_TYPE", separator=";")
PROVIDER_TIMEOUT = env.seconds("PROVIDER_TIMEOUT", 60.0, minimum=0.1)
PROVIDER_CONNECT_TIMEOUT = env.seconds("PROVIDER_CONNECT_TIMEOUT", 2.0, minimum=0.1)
PROVIDER_TOTAL_TIMEOUT = env.seconds("PROVIDER_TOTAL_TIMEOUT", 0.0)  # 0: ten times the first
PROVIDER_RETRY_SECONDS = env.seconds("PROVIDER_RETRY_SECONDS", 10.0)
# Functions and classes that see, change or refuse what goes to models: docs/generation.md.
SIGNALBOX_FILTERS: list[str] = []

# --- the task configuration: changed at run time; the environment gives first values --------------

CONSTANCE_BACKEND = "constance.backends.database.DatabaseBackend"
CONSTANCE_CONFIG = first_values.constance_config()
CONSTANCE_ADDITIONAL_FIELDS = first_values.constance_fields()

# --- sign-in, limits, security ------------------------------------------------------------------

LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
# What other apps add to the REST API, below /api.
REST_ROUTERS = ["realtime.rest.usage.router", "realtime.rest.documents.router"]
# A body is JSON around the payload: some room above the payload's own limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = TASK_MAX_PAYLOAD_BYTES + 64 * 1024

HTTPS = env.flag("HTTPS")
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # probes come from inside, without TLS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
X_FRAME_OPTIONS = "DENY"
BEHIND_PROXY = env.flag("BEHIND_PROXY")
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# --- the web server that `manage.py web` starts ---------------------------------------------------

PORT = env.number("PORT", 8000, minimum=1)
DOCUMENT_SAVE_DEBOUNCE_MS = env.number("DOCUMENT_SAVE_DEBOUNCE_MS", 500, minimum=1)
DOCUMENT_SAVE_MAX_WAIT_MS = env.number("DOCUMENT_SAVE_MAX_WAIT_MS", 5000, minimum=1)
DOCUMENT_MAX_BYTES = env.number("DOCUMENT_MAX_BYTES", 16 * 1024 * 1024, minimum=1024)

# --- static files, time, language ---------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
SERVESTATIC_USE_FINDERS = True  # no collectstatic step is needed to start
SERVESTATIC_AUTOREFRESH = DEBUG
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# --- logs: events with fields; never payloads, prompts or secrets --------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"level": "INFO"},  # takes its own handlers away: with DEBUG each line came twice
        **{
            name: {"level": "WARNING"}
            for name in ("daphne", "django_tasks", "django.tasks", "httpx")
        },
    },
}
