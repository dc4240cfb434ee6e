"""Figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from waifu_llm.doors.http.traffic import Traffic
from waifu_llm.metrics import Figures, Histogram

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "waifu_llm_"

Labels = Mapping[str, object]
Sample = tuple[Labels, float]


def write(figures: Mapping[str, Figures], status: Mapping[str, Any], traffic: Traffic) -> str:
    """All of them."""
    lines = [*_of_module(status), *_of_loads(status), *_of_providers(figures), *_of_door(traffic)]
    return "\n".join([*lines, *_of_rooms(status), *_of_queues(status), ""])


def _of_module(status: Mapping[str, Any]) -> Iterator[str]:
    yield from _family("info", "gauge", "Its version.", [({"version": status["version"]}, 1)])
    for name, what in {
        "uptime_seconds": "How long it has run.",
        "memory_bytes": "What its own process holds of the memory.",
        "clients": "Who is connected, or has a request under way.",
        "generations": "Generations under way, waiting ones too.",
        "waiting": "Generations that wait for a place.",
    }.items():
        if status.get(name) is not None:
            yield from _family(name, "gauge", what, [({}, status[name])])


def _of_loads(status: Mapping[str, Any]) -> Iterator[str]:
    """Several things may be loaded of one provider, with another key or address."""
    sums: dict[str, dict[str, int]] = {"loaded": {}, "provider_waiting": {}, "provider_places": {}}
    for load in status["loads"]:
        provider = load["provider"]
        adds = (1, load["waiting"], load["concurrency"])
        for name, add in zip(sums, adds, strict=True):
            sums[name][provider] = sums[name].get(provider, 0) + add
    helps = (
        "Things that are loaded of a provider.",
        "Generations that wait for a place at a provider.",
        "Generations that a provider takes at once.",
    )
    for (name, values), what in zip(sums.items(), helps, strict=True):
        samples = [({"provider": provider}, each) for provider, each in values.items()]
        yield from _family(name, "gauge", what, samples)


def _of_providers(figures: Mapping[str, Figures]) -> Iterator[str]:
    all_of_them = sorted(figures.items())
    yield from _family(
        "generations_total",
        "counter",
        "Generations that ended, and how: a finish reason, or the code of an error.",
        [
            ({"provider": provider, "outcome": how}, count)
            for provider, each in all_of_them
            for how, count in sorted(each.generations.items())
        ],
    )
    for name, what in {
        "input_tokens": "Tokens read, as providers count them.",
        "output_tokens": "Tokens written, as providers count them.",
        "deaths": "Processes of a provider that died.",
    }.items():
        samples = [({"provider": who}, getattr(each, name)) for who, each in all_of_them]
        yield from _family(f"{name}_total", "counter", what, samples)
    for name, attribute, what in (
        ("first_token_seconds", "first_token", "From a request to the first word of its answer."),
        ("generation_seconds", "whole", "From a request to the end of its answer."),
        ("interrupt_seconds", "interrupts", "From an interrupt until the provider is free of it."),
    ):
        histograms = {who: getattr(each, attribute) for who, each in all_of_them}
        yield from _histograms(name, what, histograms)


def _of_door(traffic: Traffic) -> Iterator[str]:
    yield from _family(
        "http_requests_total",
        "counter",
        "Requests over HTTP that were answered; 499 is who went before.",
        [
            ({"method": method, "path": path, "status": status}, count)
            for (method, path, status), count in sorted(traffic.requests.items())
        ],
    )
    under_way: list[Sample] = [({}, traffic.under_way)]
    yield from _family("http_requests_under_way", "gauge", "Requests over HTTP.", under_way)


def _of_rooms(status: Mapping[str, Any]) -> Iterator[str]:
    """What the other rooms say of themselves, as far as it is a number, and no text of a client."""
    for room in ("jobs", "workers", "rabbitmq"):
        for name, value in _numbers(status.get(room)):
            yield from _family(f"{room}_{name}", "gauge", f"`{name}` of {room}.", [({}, value)])


def _of_queues(status: Mapping[str, Any]) -> Iterator[str]:
    """Those over which workers take their work."""
    queues = status.get("workers", {}).get("queues", ())
    for name, what in {
        "waiting": "Requests that no worker has begun with.",
        "running": "Requests that a worker has.",
        "waiting_seconds": "How long the oldest has waited.",
    }.items():
        samples = [
            ({"route": each["route"], "urgency": each["urgency"]}, each[name]) for each in queues
        ]
        yield from _family(f"queue_{name}", "gauge", what, samples)


def _numbers(of: Any) -> Iterator[tuple[str, float]]:
    for name, value in of.items() if isinstance(of, Mapping) else ():
        if isinstance(value, int | float):
            yield name, value
        elif isinstance(value, list | tuple):
            yield name, len(value)


def _family(name: str, kind: str, what: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield from _about(name, kind, what)
    for labels, value in samples:
        yield f"{_PREFIX}{name}{_labels(labels)} {_number(value)}"


def _about(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {what}"
    yield f"# TYPE {_PREFIX}{name} {kind}"


def _histograms(name: str, what: str, histograms: Mapping[str, Histogram]) -> Iterator[str]:
    yield from _about(name, "histogram", what)
    for provider, each in histograms.items():
        count = 0
        for bound, more in zip((*each.bounds, "+Inf"), each.counts, strict=True):
            count += more
            labels = _labels({"provider": provider, "le": bound})
            yield f"{_PREFIX}{name}_bucket{labels} {count}"
        labels = _labels({"provider": provider})
        yield f"{_PREFIX}{name}_sum{labels} {_number(each.total)}"
        yield f"{_PREFIX}{name}_count{labels} {count}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    said = (f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return "{" + ",".join(said) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(round(value, 6)) if isinstance(value, float) else str(int(value))
