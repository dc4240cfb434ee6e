"""Every setting of the module: one frozen Config, resolved once and handed down.

A setting is a field of Config. Its flag, its variable and its key in the file are made from its
name (`idle_seconds`: `--idle-seconds`, `WAIFU_LLM_IDLE_SECONDS`, `idle_seconds`);
`config_layers.py` says which of them holds, and `setting_values.py` what may stand there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from waifu_llm.errors import WaifuError


class ConfigError(WaifuError):
    """A setting that cannot be: says which, where it was set and what it should be."""


TABLES = ("providers", "profiles", "helpers", "channels")
"""What holds one table for each of them; the first two are read anew while the module runs."""
LOG_LEVELS = ("debug", "info", "warning", "error")
_MANY = 1_000_000
_DAY_MS = 86_400_000
_YEAR_SECONDS = 86_400.0 * 365
_LARGEST_MESSAGE = 2**30
_LARGEST_PID = 2**31 - 1  # what every system takes

_PLACE = r"(\[[0-9A-Fa-f:.]+\]|[^\s/?#@*:,\[\]]+)(:\d{1,5})?"
_ADDRESS = (r"\S+", "an address or a name of this machine")
_TOKEN = (r"[!-~]*", "ASCII letters, digits and signs without spaces")
_HOST = (_PLACE, "host or host:port")
_RABBITMQ = (
    r"env|amqps?://\S*",
    "amqp://USER:PASSWORD@HOST:PORT/VHOST, amqps://…, or `env` for the variables RABBITMQ_HOST …",
)
_QUEUE = (r"[!-~]{1,200}", "the name of a queue: at most 200 signs without spaces")
_REDIS = (r"rediss?://\S+", "redis://USER:PASSWORD@HOST:PORT/DB, or rediss://… for TLS")
_OFFERED = (r"[a-z0-9][a-z0-9_.-]*(/\S+)?", "PROVIDER or PROVIDER/MODEL")
_FLEET = (r"[A-Za-z0-9_.-]{1,64}", "letters, digits, `_`, `.` and `-`, at most 64")
_ANSWERS = (r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?", "the name of a provider or a profile")
_NETWORK = (r"[0-9A-Fa-f.:]+(/\d{1,3})?", "a network, such as 192.168.1.0/24")
_NAME = (r"[A-Za-z0-9_.-]{0,64}", "letters, digits, `_`, `.` and `-`, at most 64")
_ORIGIN = (
    rf"null|file://|(?!file:)[a-z][a-z0-9+.-]*://{_PLACE}",
    "scheme://host, scheme://host:port, or `null` for pages from files",
)


def setting(default: Any, about: str, *, secret: bool = False, **more: Any) -> Any:
    """A field with its help, and what is asked of its value.

    `ge`, `le` and `choices` are bounds, `form` is a pattern and what it means in words, and
    `path` says that the value names a file.
    """
    return field(default=default, metadata={"help": about, "secret": secret, **more})


@dataclass(frozen=True, kw_only=True)
class Config:
    """What holds. `origins` tells for each name where its value came from."""

    host: str = setting("127.0.0.1", "Address to listen at.", form=_ADDRESS)
    port: int = setting(7562, "Port to listen at; 0 picks a free one.", ge=0, le=65_535)
    http_port: int = setting(
        -1,
        "Port for HTTP, OpenAI's API and Ollama's; 0 picks a free one, -1 is none, that of `port` "
        "is shared. Needs the extra `http`.",
        ge=-1,
        le=65_535,
    )
    token: str = setting("", "The token itself; better kept in a file.", secret=True, form=_TOKEN)
    token_file: str = setting(
        "", "File that holds the token; <home>/token when left out.", path=True
    )
    require_token: bool = setting(False, "Ask for the token even of local native clients.")
    allowed_origins: tuple[str, ...] = setting((), "Web origins that may connect.", form=_ORIGIN)
    allowed_hosts: tuple[str, ...] = setting((), "Further names of ours, as host:port.", form=_HOST)
    behind_proxy: bool = setting(False, "A reverse proxy stands in front and speaks TLS.")
    tls_cert: str = setting("", "Certificate chain, a PEM file.", path=True)
    tls_key: str = setting("", "Private key of the certificate, a PEM file.", path=True)
    allow_remote_close: bool = setting(False, "Let browsers and remote clients close the module.")
    auto_install: bool = setting(True, "Install a provider when it is first loaded.")
    wheels: str = setting("", "A folder of wheels to install from, without any network.", path=True)
    disabled_plugins: tuple[str, ...] = setting((), "Plugins that are not loaded.")
    idle_seconds: float = setting(
        300.0, "How long a thing that nobody holds stays loaded.", ge=0, le=_YEAR_SECONDS
    )
    cloud_concurrency: int = setting(
        256, "Generations at once for a cloud provider.", ge=1, le=_MANY
    )
    max_waiting: int = setting(512, "Generations that may wait, in all.", ge=0, le=_MANY)
    max_waiting_per_provider: int = setting(
        64, "Generations that may wait for one thing.", ge=0, le=_MANY
    )
    max_loaded: int = setting(64, "Things that may be loaded at a time.", ge=1, le=_MANY)
    max_connections: int = setting(512, "Connections at a time.", ge=1, le=_MANY)
    max_unauthorized: int = setting(
        16, "Connections that have yet to bring their token.", ge=1, le=_MANY
    )
    max_message_bytes: int = setting(
        8 * 1024 * 1024, "Largest message that is taken.", ge=1024, le=_LARGEST_MESSAGE
    )
    first_token_ms: int = setting(
        60_000, "Longest wait for a cloud provider's first token.", ge=1, le=_DAY_MS
    )
    local_first_token_ms: int = setting(
        300_000, "Longest wait for a local provider's first.", ge=1, le=_DAY_MS
    )
    between_tokens_ms: int = setting(
        60_000, "Longest wait for each further token.", ge=1, le=_DAY_MS
    )
    answer_ms: int = setting(
        600_000, "Longest wait for a whole answer that is not streamed.", ge=1, le=_DAY_MS
    )
    interrupt_grace_seconds: float = setting(
        5.0, "How long a provider may take to obey.", ge=0, le=_YEAR_SECONDS
    )
    load_seconds: float = setting(
        600.0, "How long a provider may take to load.", ge=1, le=_YEAR_SECONDS
    )
    stalled_seconds: float = setting(
        30.0, "How long a client may leave its answers unread.", ge=1, le=_YEAR_SECONDS
    )
    jobs_kept_seconds: float = setting(
        3600.0, "How long a job can still be listened to after its end.", ge=0, le=_YEAR_SECONDS
    )
    max_jobs: int = setting(10_000, "Jobs that may wait, in all.", ge=0, le=_MANY)
    max_jobs_per_client: int = setting(1_000, "Jobs that may wait of one client.", ge=0, le=_MANY)
    keyring: bool = setting(
        False, "Keep stored keys in the system's keyring; needs the extra `keyring`."
    )
    store: str = setting(
        "",
        "Keeps chats and jobs: `sqlite`, a file, or postgresql://…; needs the extra `chats`.",
        secret=True,  # a password may be in it
    )
    max_history_messages: int = setting(
        200, "Messages of a chat that go to a model with a new one.", ge=1, le=10_000
    )
    instruction_answers_kept_seconds: float = setting(
        86_400.0,
        "How long an answer is kept for an instruction that comes again.",
        ge=60,
        le=_YEAR_SECONDS,
    )
    rabbitmq: str = setting(
        "",
        "Take instructions over this RabbitMQ: its URL, or `env`; needs the extra `rabbitmq`.",
        secret=True,
        form=_RABBITMQ,
    )
    rabbitmq_queue: str = setting(
        "instruction_queue", "The queue that instructions come over.", form=_QUEUE
    )
    rabbitmq_prefetch: int = setting(
        8, "Instructions that RabbitMQ may hand out before the first is done.", ge=1, le=_MANY
    )
    channels_at_once: int = setting(
        16, "People on all channels together who are answered at a time.", ge=1, le=_MANY
    )
    workers: str = setting(
        "",
        "Have generations done by workers over this Redis: redis://…; needs the extra `redis`.",
        secret=True,
        form=_REDIS,
    )
    workers_name: str = setting(
        "waifu", "What modules and workers that belong together call themselves.", form=_FLEET
    )
    workers_at_once: int = setting(
        256, "Generations that are with the workers at a time, of each thing.", ge=1, le=_MANY
    )
    run_here: tuple[str, ...] = setting(
        (), "Providers, or PROVIDER/MODEL, that are not left to workers.", form=_OFFERED
    )
    run_here_first: tuple[str, ...] = setting(
        (), "The same, where only what is too much for here goes to workers.", form=_OFFERED
    )
    redis: str = setting(
        "",
        "Where a worker takes its work from: redis://…; needs the extra `redis`.",
        secret=True,
        form=_REDIS,
    )
    offers: tuple[str, ...] = setting(
        (),
        "Providers, or PROVIDER/MODEL, that a worker offers; those that are installed if left out.",
        form=_OFFERED,
    )
    worker_name: str = setting("", "What a worker is called; its host if left out.", form=_NAME)
    worker_places: int = setting(
        0, "Generations at a time that a worker takes of each provider; 0: all.", ge=0, le=_MANY
    )
    worker_lease_seconds: float = setting(
        30.0, "How long a worker may be silent before others do its work.", ge=1, le=3600
    )
    process_provider: str = setting(
        "", "The provider or profile that answers `/process` and channels.", form=_ANSWERS
    )
    process_model: str = setting("", "Its model, where it is no profile that names one.")
    max_helpers: int = setting(64, "Helpers that may be there at a time.", ge=1, le=_MANY)
    helper_networks: tuple[str, ...] = setting(
        (), "Networks that are not the open internet, and that helpers may be in.", form=_NETWORK
    )
    helper_seconds: float = setting(
        30.0, "How long one call of a helper may take.", ge=0.1, le=3600
    )
    helper_calls_at_once: int = setting(4, "Calls of one helper at a time.", ge=1, le=_MANY)
    helper_check_seconds: float = setting(
        30.0, "How often helpers are looked at, whether they are well.", ge=0.1, le=_YEAR_SECONDS
    )
    helper_rounds: int = setting(
        5, "Times that a model may have helpers called for one answer.", ge=1, le=100
    )
    helper_total_seconds: float = setting(
        120.0, "How long all calls for one answer may take.", ge=0.1, le=3600
    )
    parent_pid: int = setting(0, "Close when the process with this id ends.", ge=0, le=_LARGEST_PID)
    log_level: str = setting("warning", "debug, info, warning or error.", choices=LOG_LEVELS)
    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"help": ""})
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"help": ""})
    helpers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"help": ""})
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, metadata={"help": ""})
    sources: Mapping[str, str] = field(default_factory=dict, metadata={"help": ""})

    def source(self, name: str) -> str:
        return self.sources.get(name, "default")


def settings() -> list[Field[Any]]:
    """The fields that can be set one by one."""
    return [each for each in fields(Config) if each.name not in (*TABLES, "sources")]
