#!/usr/bin/env python3
"""Time PyTorch's and torchvision's convolutions on the CPU, for comparison.

    python3 torch_cpu.py [shapes.json] [--threads 2] [--only TEXT] [--backward] [--seconds 2]

Reads a JSON list of cases (default: shapes.json beside this file; "-": standard input):

    name, n, c, h, w, k, r, s      batch, input channels, size, output channels, kernel
    stride, pad, dilation          one number, or [rows, columns]                        (1, 0, 1)
    groups                                                                               (1)
    og, mask                       og > 0: deformable, with og offset groups; with mask  (0, false)
    bias                                                                                 (false)

Writes one JSON object a line: first what ran where, then per case the median of single calls in milliseconds, their
spread, and GFLOP/s from the median. A multiply-add is two operations; sampling a deformable input is not counted, so
the two kinds compare. Tensors are float32, NCHW, warm, and made before the clock starts; offsets have a standard
deviation of one pixel. --backward times all gradients of a forward pass done beforehand (for a convolution twice the
operations: input and weight).
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time


def arguments():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("shapes", nargs="?", default=os.path.join(here, "shapes.json"))
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--only", default="", help="cases whose name contains this")
    p.add_argument("--backward", action="store_true")
    p.add_argument("--seconds", type=float, default=2, help="measure each case for about this long")
    p.add_argument("--lines", action="store_true", help="read one case a line instead, see line_peer.py")
    p.add_argument("--least", type=int, default=10, help="but for this many calls")
    a = p.parse_args()
    if a.threads < 1:
        p.error(f"--threads is {a.threads}, has to be 1 or more")
    return a


args = arguments()
# OpenMP (oneDNN) and OpenBLAS (behind torchvision) read these when they are loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torchvision  # noqa: E402
from torchvision.ops import deform_conv2d  # noqa: E402


def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def blas():
    """The BLAS that was loaded: its reference version would be slow beyond comparison."""
    try:
        with open("/proc/self/maps") as f:
            names = {os.path.basename(line.split()[-1]) for line in f if "blas" in line or "mkl_rt" in line}
        return ", ".join(sorted(n for n in names if "gfortran" not in n))
    except OSError:
        return "unknown"


def model():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def build(c, backward):
    """The call to time, and how many operations it does."""
    g = torch.Generator().manual_seed(1)

    def randn(*shape):
        return torch.randn(*shape, generator=g).requires_grad_(backward)

    stride, pad, dilation = (pair(c.get(k, d)) for k, d in (("stride", 1), ("pad", 0), ("dilation", 1)))
    groups, og = c.get("groups", 1), c.get("og", 0)
    n, k, r, s = c["n"], c["k"], c["r"], c["s"]
    ho = (c["h"] + 2 * pad[0] - dilation[0] * (r - 1) - 1) // stride[0] + 1
    wo = (c["w"] + 2 * pad[1] - dilation[1] * (s - 1) - 1) // stride[1] + 1
    flop = 2 * n * k * ho * wo * (c["c"] // groups) * r * s
    x, weight = randn(n, c["c"], c["h"], c["w"]), randn(k, c["c"] // groups, r, s)
    bias = randn(k) if c.get("bias") else None
    inputs = [x, weight] + ([bias] if bias is not None else [])
    if og:
        offset = randn(n, 2 * og * r * s, ho, wo)
        mask = torch.rand(n, og * r * s, ho, wo, generator=g).requires_grad_(backward) if c.get("mask") else None
        inputs += [offset] + ([mask] if mask is not None else [])

        def forward():
            return deform_conv2d(x, offset, weight, bias, stride, pad, dilation, mask)
    else:
        def forward():
            return F.conv2d(x, weight, bias, stride, pad, dilation, groups)
    if not backward:
        return forward, flop
    y = forward()
    dy = torch.randn(y.shape, generator=g)
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True), 2 * flop


def measure(f):
    end = time.perf_counter() + args.seconds / 4
    f()
    while time.perf_counter() < end:  # caches, thread pool, and the clock of the cores
        f()
    times, end = [], time.perf_counter() + args.seconds
    while len(times) < args.least or time.perf_counter() < end:
        start = time.perf_counter()
        f()
        times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)


def lines():
    """One case a line in, its time a line out, for bench/peers."""
    from line_peer import median_ms, serve

    def answer(c):
        f, _ = build(c, args.backward)
        with torch.set_grad_enabled(args.backward):
            return {"median_ms": median_ms(f, c["seconds"])}

    torch.set_num_threads(args.threads)
    serve(f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, {blas()}; {model()}", answer)


def main():
    with (sys.stdin if args.shapes == "-" else open(args.shapes)) as f:
        cases = json.load(f)
    torch.set_num_threads(args.threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps({"peer": "torch", "torch": torch.__version__, "torchvision": torchvision.__version__,
                      "onednn": torch.backends.mkldnn.is_available(), "blas": blas(), "cpu": model(),
                      "isa": torch.backends.cpu.get_cpu_capability(), "cores": os.cpu_count(),
                      "threads": args.threads, "load": load}), flush=True)
    for c in cases:
        if args.only not in c["name"]:
            continue
        f, flop = build(c, args.backward)
        with torch.set_grad_enabled(args.backward):
            t = measure(f)
        median = statistics.median(t)
        print(json.dumps({"name": c["name"], "pass": "backward" if args.backward else "forward",
                          "median_ms": round(median, 4), "min_ms": round(t[0], 4),
                          "p10_ms": round(t[len(t) // 10], 4), "p90_ms": round(t[len(t) * 9 // 10], 4),
                          "calls": len(t), "gflops": round(flop / median / 1e6, 2)}), flush=True)


if __name__ == "__main__":
    lines() if args.lines else main()
