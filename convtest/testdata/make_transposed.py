#!/usr/bin/env python3
"""Make the outside test cases of transposed convolution, with PyTorch, as make_cases.py makes the others.

    python3 make_transposed.py [-o DIR]     (default: transposed/ beside this file)

Output size: s(n−1) + d(k−1) + 1 + output_padding − pads. The second opinion is that this operator is the transpose
of the convolution with the same weight: <y, v> = <x, conv(v)> for any v, and so for its gradients.
"""

import argparse
import os
import zlib

import numpy as np
import torch
import torch.nn.functional as F

from make_cases import formula, pair, quad

CASES = {}


def case(name, x, k, kernel, *, s=1, p=0, d=1, g=1, op=0, bias=True):
    CASES[name] = dict(x=x, k=k, kernel=pair(kernel), s=pair(s), p=quad(p), d=pair(d), g=g, op=pair(op), bias=bias)


case("t_3x3", (2, 3, 4, 5), 4, 3)
case("t_3x3_p1_nobias", (1, 3, 5, 4), 2, 3, p=1, bias=False)
case("t_s2_p1_op1", (1, 4, 4, 5), 3, 3, s=2, p=1, op=1)  # doubles the image
case("t_4x4_s2_p1", (1, 3, 4, 4), 5, 4, s=2, p=1)
case("t_2x2_s2", (1, 5, 3, 4), 3, 2, s=2)
case("t_2x2_s3_gaps", (1, 3, 3, 4), 2, 2, s=3)  # outputs that meet no input: bias alone
case("t_s3x2_op2x1", (1, 2, 3, 4), 3, 3, s=(3, 2), op=(2, 1))
case("t_d2", (1, 3, 4, 5), 4, 3, p=2, d=2)
case("t_d3_s2_p1_op1", (1, 3, 4, 3), 2, 3, s=2, p=1, d=3, op=1)
case("t_d2_op1_s1", (1, 2, 4, 4), 2, 3, p=1, d=2, op=1)  # output padding below the dilation, not the stride
case("t_g2", (1, 4, 4, 3), 6, 3, s=2, p=1, g=2)
case("t_dw_s2_op1", (1, 5, 4, 4), 5, 3, s=2, p=1, g=5, op=1)
case("t_dw_m2_d2", (1, 3, 4, 5), 6, 3, p=1, d=2, g=3)
case("t_g3_1x1_s2", (1, 6, 3, 4), 3, 1, s=2, g=3)
case("t_asym", (1, 3, 5, 5), 2, 3, s=2, p=(0, 1, 2, 1))
case("t_asym_op1", (1, 2, 4, 4), 3, (3, 2), s=2, p=(1, 0, 0, 1), op=1)  # one row is past everything: bias alone
case("t_1x1_image", (1, 3, 1, 1), 4, 3, s=2, op=1)
case("t_2x3_s1x2", (1, 3, 4, 5), 2, (2, 3), s=(1, 2), p=(0, 1))
case("t_batch0", (0, 3, 4, 5), 2, 3, s=2, p=1)
case("t_batch3_c17_k7", (3, 17, 3, 3), 7, 3, s=2, p=1)


def forward(c, t):
    (top, left, bottom, right), (oy, ox) = c["p"], c["op"]
    if (top, left) == (bottom, right):
        return F.conv_transpose2d(t["x"], t["weight"], t.get("bias"), c["s"], (top, left), c["op"], c["g"], c["d"])
    # PyTorch cuts the same from both sides only: make all of it, and cut here. What output_padding adds behind the
    # full result is zero before the bias.
    full = F.conv_transpose2d(t["x"], t["weight"], None, c["s"], 0, 0, c["g"], c["d"])
    full = F.pad(full, (-left, ox - right, -top, oy - bottom))
    return full + t["bias"][None, :, None, None] if "bias" in t else full


def convolve(c, v, weight):
    """The convolution this one is the transpose of: v [N, K, Ho, Wo] to [N, C, H, W]."""
    f = dict(kernel=c["kernel"], k=c["x"][1], s=c["s"], p=c["p"], d=c["d"], g=c["g"], og=0, mode="zeros")
    return formula(f, {"x": v, "weight": weight})[:, :, :c["x"][2], :c["x"][3]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "transposed"))
    folder = parser.parse_args().o
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    for name, c in CASES.items():
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        a = {"x": rng.standard_normal(c["x"]),
             "weight": rng.standard_normal((c["x"][1], c["k"] // c["g"]) + c["kernel"])}
        if c["bias"]:
            a["bias"] = rng.standard_normal(c["k"])
        a = {k: v.astype(np.float32) for k, v in a.items()}
        t = {k: torch.from_numpy(v.astype(np.float64)).requires_grad_() for k, v in a.items()}
        y = forward(c, t)
        sizes = tuple(c["s"][i] * (c["x"][2 + i] - 1) + c["d"][i] * (c["kernel"][i] - 1) + 1 + c["op"][i]
                      - c["p"][i] - c["p"][i + 2] for i in (0, 1))
        assert y.shape == (c["x"][0], c["k"]) + sizes, f"{name}: {tuple(y.shape)}, the formula says {sizes}"
        a["dy"] = rng.standard_normal(y.shape).astype(np.float32)
        y.backward(torch.from_numpy(a["dy"].astype(np.float64)))
        want = {"y": y.detach().numpy()} | {"d" + k: v.grad.numpy() for k, v in t.items()}

        # <y − bias, v> = <x, conv(v)>, every element of v its own test; dx = conv(dy) is the same once more.
        v = rng.standard_normal(y.shape)
        bare = want["y"] - (a["bias"].astype(np.float64)[None, :, None, None] if "bias" in a else 0)
        np.testing.assert_allclose(np.sum(bare * v), np.sum(a["x"] * convolve(c, v, a["weight"])), rtol=1e-10,
                                   atol=1e-10)
        np.testing.assert_allclose(want["dx"], convolve(c, a["dy"], a["weight"]), rtol=1e-10, atol=1e-12)
        dw = rng.standard_normal(a["weight"].shape)
        np.testing.assert_allclose(np.sum(want["dweight"] * dw), np.sum(a["x"] * convolve(c, a["dy"], dw)), rtol=1e-10,
                                   atol=1e-10)
        if "bias" in a:
            np.testing.assert_allclose(want["dbias"], a["dy"].astype(np.float64).sum((0, 2, 3)), rtol=1e-12)

        arrays = a | want
        for k, value in (("stride", c["s"]), ("padding", c["p"]), ("dilation", c["d"]), ("groups", (c["g"],)),
                         ("output_padding", c["op"])):
            arrays[k] = np.array(value, dtype=np.int64)
        for k, value in (("op", "conv_transpose"), ("padding_mode", "zeros")):
            arrays[k] = np.frombuffer(value.encode(), dtype=np.uint8)
        np.savez_compressed(os.path.join(folder, name + ".npz"),
                            **{k: np.ascontiguousarray(value) for k, value in arrays.items()})
        print(f"{name:24} y {want['y'].shape}")


if __name__ == "__main__":
    main()
