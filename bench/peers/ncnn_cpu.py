#!/usr/bin/env python3
"""Times single layers of ncnn on the CPU (PyPI: ncnn) for bench/peers, see line_peer.py.

    python3 ncnn_cpu.py --lines --threads 2

float32 throughout, images by themselves, since ncnn knows no batch; NCHW in and out, so that its conversions to and
from its own layout count. Of a 3×3 convolution the default, which is Winograd's algorithm where ncnn thinks it worth
while, and the time without it; the better one is the answer. DeformableConv2D has one offset group and no groups.
"""

import os
import tempfile

import ncnn
import numpy as np

from line_peer import median_ms, model, serve, threads_wanted

threads = threads_wanted()


def network(c, ho, wo, winograd):
    k, r, s, groups = c["k"], c["r"], c["s"], c["groups"]
    weights = k * (c["c"] // groups) * r * s
    convolution = f"0={k} 1={s} 11={r} 2={c['dilation']} 3={c['stride']} 4={c['pad']} 5=0 6={weights}"
    layers = ["Input x 0 1 x"]
    bottoms = ["x"]
    if c["og"]:
        bottoms.append("offset")
        if c["mask"]:
            bottoms.append("mask")
        layers += [f"Input {b} 0 1 {b}" for b in bottoms[1:]]
        kind = "DeformableConv2D"
    elif groups > 1:
        kind = "ConvolutionDepthWise"
        convolution += f" 7={groups}"
    else:
        kind = "Convolution"
    layers.append(f"{kind} layer {len(bottoms)} 1 {' '.join(bottoms)} y {convolution}")
    net = ncnn.Net()
    o = net.opt
    o.num_threads = threads
    o.use_vulkan_compute = o.use_fp16_packed = o.use_fp16_storage = o.use_fp16_arithmetic = False
    o.use_bf16_storage = o.use_bf16_packed = o.use_int8_inference = False
    o.use_winograd_convolution = winograd
    with tempfile.TemporaryDirectory() as d:
        param, data = os.path.join(d, "param"), os.path.join(d, "bin")
        with open(param, "w") as f:
            f.write(f"7767517\n{len(layers)} {len(bottoms) + 1}\n" + "\n".join(layers) + "\n")
        random = np.random.default_rng(1)
        with open(data, "wb") as f:
            f.write(np.uint32(0).tobytes())  # plain float32
            f.write(random.standard_normal(weights, dtype=np.float32).tobytes())
        if net.load_param(param) != 0 or net.load_model(data) != 0:
            return None
    mats = [("x", random.standard_normal((c["c"], c["h"], c["w"]), dtype=np.float32))]
    if c["og"]:
        mats.append(("offset", random.standard_normal((2 * r * s, ho, wo), dtype=np.float32)))
        if c["mask"]:
            mats.append(("mask", random.random((r * s, ho, wo), dtype=np.float32)))
    mats = [(name, ncnn.Mat(a).clone()) for name, a in mats]

    def call():
        for _ in range(c["n"]):
            ex = net.create_extractor()
            for name, mat in mats:
                ex.input(name, mat)
            ret, y = ex.extract("y")
            if ret != 0:
                raise RuntimeError(f"ncnn: extract returned {ret}")
        return y

    y = call()
    if (y.c, y.h, y.w, y.elempack) != (k, ho, wo, 1):
        raise RuntimeError(f"ncnn made {y.c}×{y.h}×{y.w} of {k}×{ho}×{wo}")
    return call


def answer(c):
    if c["og"] > 1 or c["og"] and c["groups"] > 1:
        return None
    reach = [c["dilation"] * (c[k] - 1) + 1 for k in ("r", "s")]
    ho, wo = ((c[k] + 2 * c["pad"] - n) // c["stride"] + 1 for k, n in zip(("h", "w"), reach))
    default = network(c, ho, wo, True)
    if default is None:
        return None
    result = {"median_ms": median_ms(default, c["seconds"]), "way": "default"}
    if c["r"] == 3 and c["s"] == 3 and c["stride"] == 1 and c["groups"] == 1 and not c["og"]:
        result["direct_ms"] = median_ms(network(c, ho, wo, False), c["seconds"])
        if result["direct_ms"] < result["median_ms"]:
            result["median_ms"], result["way"] = result["direct_ms"], "no Winograd"
    return result


serve(f"ncnn {ncnn.__version__}; {model()}", answer)
