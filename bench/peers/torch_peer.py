#!/usr/bin/env python3
"""PyTorch's and torchvision's convolutions, forward or all gradients, for bench/peers (see line.go).

A layer has the keys of shapes.json: n, c, h, w (input), k, r, s (output channels, kernel), stride, pad, dilation, groups;
og > 0 makes it deformable, with so many offset groups, mask with one. Tensors are made before the clock starts, offsets
have a standard deviation of one pixel. With gradients, the forward pass has been done beforehand.

On a CUDA device TF32 is off, so float32 is float32; cuDNN tries its algorithms before the clock starts; float16 and
bfloat16 are channels last, which cuDNN prefers; and the time is the device's own, between two events around a call.
"""

import argparse
import os
import statistics
import time


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lines", action="store_true", required=True)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--backward", action="store_true")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    p.add_argument("--type", default="float32", choices=("float32", "float16", "bfloat16"))
    return p.parse_args()


args = arguments()
# OpenMP (oneDNN) and OpenBLAS (behind torchvision) read these when they are loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(args.threads)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import torchvision  # noqa: E402
from torchvision.ops import deform_conv2d  # noqa: E402

from line_peer import median_ms, model, serve  # noqa: E402

CUDA = args.device == "cuda"
TYPE = getattr(torch, args.type)


def blas():
    """The BLAS that was loaded: its reference version would be slow beyond comparison."""
    try:
        with open("/proc/self/maps") as f:
            names = {os.path.basename(line.split()[-1]) for line in f if "blas" in line or "mkl_rt" in line}
        return ", ".join(sorted(n for n in names if "gfortran" not in n))
    except OSError:
        return "unknown"


def about():
    versions = f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"
    if not CUDA:
        return f"{versions}, {blas()}; {model()}"
    return (f"{versions}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, TF32 off; "
            f"{torch.cuda.get_device_name()}")


def build(c):
    """The call to time."""
    g = torch.Generator().manual_seed(1)
    layout = torch.channels_last if CUDA and TYPE != torch.float32 else torch.contiguous_format

    def placed(t):
        return t.to(args.device, TYPE, memory_format=layout).requires_grad_(args.backward)

    def randn(*shape):
        return placed(torch.randn(*shape, generator=g))

    stride, pad, dilation, groups, og = c["stride"], c["pad"], c["dilation"], c["groups"], c.get("og", 0)
    n, k, r, s = c["n"], c["k"], c["r"], c["s"]
    ho = (c["h"] + 2 * pad - dilation * (r - 1) - 1) // stride + 1
    wo = (c["w"] + 2 * pad - dilation * (s - 1) - 1) // stride + 1
    x, weight = randn(n, c["c"], c["h"], c["w"]), randn(k, c["c"] // groups, r, s)
    inputs = [x, weight]
    if og:
        offset = randn(n, 2 * og * r * s, ho, wo)
        mask = placed(torch.rand(n, og * r * s, ho, wo, generator=g)) if c.get("mask") else None
        inputs += [offset] + ([mask] if mask is not None else [])

        def forward():
            return deform_conv2d(x, offset, weight, None, stride, pad, dilation, mask)
    else:
        def forward():
            return F.conv2d(x, weight, None, stride, pad, dilation, groups)
    if not args.backward:
        return forward
    y = forward()
    dy = torch.randn(y.shape, generator=g).to(y)
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)


def device_ms(call, seconds, least=5):
    """The median of the times that the device takes for single calls, after a quarter of the time to warm up."""
    end = time.perf_counter() + seconds / 4
    call()
    torch.cuda.synchronize()
    while time.perf_counter() < end:
        call()
        torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def answer(c):
    with torch.set_grad_enabled(args.backward):
        try:
            return {"median_ms": (device_ms if CUDA else median_ms)(build(c), c["seconds"])}
        except (NotImplementedError, RuntimeError) as e:  # "not implemented for 'Half'", out of memory
            return {"error": str(e).split("\n")[0]}


torch.set_num_threads(args.threads)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.benchmark = True
serve(about(), answer)
