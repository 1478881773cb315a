"""The result as Markdown: medians, with the range over the rounds in brackets."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess


def heading(options, rows):
    """What was measured, where and when."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    lines = [
        f"{datetime.date.today()}, {platform.system()} {platform.release()}, {os.cpu_count()} cores"
        f" ({model[1] if model else platform.machine()}), load average before {os.getloadavg()[0]:.2f}",
        rustc.stdout.strip(),
        f"{options.rounds} rounds of {options.seconds:g} s after {options.warmup:g} s",
        *filter(None, (peer.about() for peer in rows)),
    ]
    return "".join(f"- {line}\n" for line in lines)


def table(workload, results, left_out):
    """One workload's table; `left_out` has the adapters that are not in it, and why."""
    # Whose requests per CPU second, and whose requests per second, the others' are compared with.
    baseline, pace = ("memory", "memory") if workload.adapters else ("hudsucker", "direct")
    columns = [
        ("requests/s", lambda name: _spread(_of(results, name, "requests_per_second"), ".0f")),
        ("requests per proxy CPU second", lambda name: _spread(_of(results, name, "requests_per_cpu_second"), ".0f")),
        (f"of {baseline}", lambda name: _spread(_ratios(results, name, baseline, "requests_per_cpu_second"))),
        (f"requests/s of {pace}", lambda name: _spread(_ratios(results, name, pace, "requests_per_second"))),
        ("p50 µs", lambda name: _spread(_of(results, name, "p50"), ".0f")),
        ("p99 µs", lambda name: _spread(_of(results, name, "p99"), ".0f")),
        ("peak MiB", lambda name: _spread([kib / 1024 for kib in _of(results, name, "peak_kib")], ".1f")),
        ("proxy core", lambda name: _share(results, name, "proxy")),
        ("load core", lambda name: _share(results, name, "load_and_origin")),
    ]
    if workload.adapters:
        columns.append(("of it the store", lambda name: _share(results, name, "store")))
    lines = [
        f"### {workload.title}\n",
        "| peer | " + " | ".join(title for title, _ in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
        *(f"| {name} | " + " | ".join(cell(name) for _, cell in columns) + " |" for name in results),
        "",
        *(f"{adapter} is left out: {why}.\n" for adapter, why in left_out.items()),
        *([_written(results)] if workload.cookies else []),
        _disturbance(results),
    ]
    return "\n".join(lines) + "\n"


def _of(results, name, figure):
    values = [figures[figure] for figures in results.get(name, [])]
    return [value for value in values if value is not None]


def _ratios(results, name, other, figure):
    """Round by round, so that what slows the machine for a while slows both sides of a ratio."""
    return [mine / theirs for mine, theirs in zip(_of(results, name, figure), _of(results, other, figure))]


def _spread(values, form=".2f"):
    if not values:
        return "–"
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _share(results, name, figure):
    return f"{statistics.median(_of(results, name, figure)):.0%}"


def _written(results):
    """An answer that sets a cookie is released when the store has it: every request is a cookie written."""
    medians = (f"{name} {statistics.median(_of(results, name, 'requests_per_second')):.0f}" for name in results)
    return f"Cookies written per second: {', '.join(medians)}.\n"


def _disturbance(results):
    """How much of the two cores others had while a proxy was measured."""
    proxied = [
        figures for rounds in results.values() for figures in rounds if figures["requests_per_cpu_second"] is not None
    ]
    if not proxied:
        return ""
    proxy, load = (max(figures[f"foreign_on_{core}_core"] for figures in proxied) for core in ("proxy", "load"))
    return f"Others had at most {proxy:.0%} of the proxy's core and {load:.0%} of the load's."
