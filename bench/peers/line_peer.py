"""What the peers written in Python share: one layer a line in, its time a line out (see line.go)."""

import argparse
import json
import os
import statistics
import sys
import time


def threads_wanted():
    p = argparse.ArgumentParser()
    p.add_argument("--lines", action="store_true", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    return p.parse_args().threads


def model():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def median_ms(call, seconds, least=3):
    """The median of single calls, after a quarter of the time to warm up."""
    end = time.perf_counter() + seconds / 4
    call()
    while time.perf_counter() < end:  # caches, thread pool, and the clock of the cores
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def serve(about, answer):
    """Writes a line about the peer, then for every layer that is read what answer(layer) says of it: a dictionary
    with median_ms, or None where the peer does not have it. A layer has the keys of shapes.json, and seconds."""
    print(json.dumps({"about": about}), flush=True)
    for line in sys.stdin:
        layer = {k.lower(): v for k, v in json.loads(line).items()}
        print(json.dumps(answer(layer) or {"error": "not there"}), flush=True)
