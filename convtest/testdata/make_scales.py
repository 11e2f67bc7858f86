#!/usr/bin/env python3
"""Compute resizes, global average poolings, pyramids and ASPP blocks by PyTorch, torchvision and NumPy in float64.

    python3 make_scales.py [-o DIR]     (default: scales/ beside this file; needs torch and torchvision)

Inputs are float32, results float64. Every file holds `op` (ASCII) and x:

    resize    align_corners (int64 [1]), y, dy, dx
    pool      y, dy, dx
    pyramid   level1, level2, ...: by the formula of Burt and Adelson 1983, with the edge pixel repeated
    aspp      rates (int64), activation (ASCII), point_weight, point_bias, dilated0_weight, ..., pool_weight, pool_bias,
              project_weight, project_bias, y. Batch norm is folded into them, in float64 and rounded once, and
              torchvision's own ASPP with the batch norm has to agree but for that rounding.
"""

import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP


def write(folder, name, op, **arrays):
    out = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    out["op"] = np.frombuffer(op.encode(), dtype=np.uint8)
    np.savez_compressed(os.path.join(folder, name + ".npz"), **out)
    print(f"{name:32} x {out['x'].shape}")


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def differentiate(f, x, dy):
    t = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = f(t)
    y.backward(torch.tensor(dy.astype(np.float64)))
    return y.detach().numpy(), t.grad.numpy()


def resizes(folder, rng):
    for (h, w), (ho, wo) in [((5, 7), (10, 14)), ((5, 7), (9, 4)), ((1, 1), (6, 5)), ((8, 6), (1, 1)), ((3, 4), (24, 32)),
                             ((16, 16), (7, 5)), ((1, 9), (3, 2)), ((9, 17), (9, 17)), ((13, 11), (40, 3))]:
        for aligned in (False, True):
            x, dy = normal(rng, 2, 2, h, w), normal(rng, 2, 2, ho, wo)
            y, dx = differentiate(lambda t: F.interpolate(t, size=(ho, wo), mode="bilinear", align_corners=aligned), x, dy)
            write(folder, f"resize_{h}x{w}_{ho}x{wo}" + ("_aligned" if aligned else ""), "resize", x=x, y=y, dy=dy, dx=dx,
                  align_corners=np.array([int(aligned)], dtype=np.int64))


def pools(folder, rng):
    for shape in [(2, 3, 5, 7), (1, 17, 1, 1), (3, 4, 16, 9)]:
        x, dy = normal(rng, *shape), normal(rng, *shape[:2], 1, 1)
        y, dx = differentiate(lambda t: F.adaptive_avg_pool2d(t, 1), x, dy)
        write(folder, "pool_" + "x".join(map(str, shape)), "pool", x=x, y=y, dy=dy, dx=dx)


def reduce(g):
    """g_l(i, j) = sum over m, n of w(m)·w(n)·g_{l-1}(2i+m, 2j+n), m and n from -2 to 2."""
    w = np.array([1, 4, 6, 4, 1]) / 16
    h, wd = g.shape[2:]
    out = np.zeros(g.shape[:2] + ((h + 1) // 2, (wd + 1) // 2))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            for m in range(-2, 3):
                for n in range(-2, 3):
                    out[:, :, i, j] += w[m + 2] * w[n + 2] * g[:, :, min(max(2 * i + m, 0), h - 1), min(max(2 * j + n, 0), wd - 1)]
    return out


def pyramids(folder, rng):
    for shape, levels in [((1, 3, 13, 18), 4), ((2, 2, 1, 5), 3)]:
        x = normal(rng, *shape)
        g, out = x.astype(np.float64), {}
        for i in range(levels):
            g = reduce(g)
            out[f"level{i + 1}"] = g
        write(folder, "pyramid_" + "x".join(map(str, shape)), "pyramid", x=x, **out)


def fold(convolution, norm):
    """Weight and bias of a convolution with the batch norm behind it."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    bias = norm.bias - norm.running_mean * scale
    return weight.detach().numpy().astype(np.float32), bias.detach().numpy().astype(np.float32)


def aspps(folder, rng):
    torch.manual_seed(3)
    for name, shape, rates, channels in [("small", (2, 5, 9, 11), [2, 5, 7], 4), ("rates", (1, 8, 17, 17), [6, 12, 18], 8)]:
        model = ASPP(shape[1], rates, channels).double().eval()
        for m in model.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                for p in (m.weight, m.bias, m.running_mean):
                    p.data = torch.randn_like(p)
                m.running_var.data = torch.rand_like(m.running_var) + 0.5
        x = normal(rng, *shape)
        t = torch.tensor(x.astype(np.float64))
        filters = {"point": fold(model.convs[0][0], model.convs[0][1]), "pool": fold(model.convs[-1][1], model.convs[-1][2]),
                   "project": fold(model.project[0], model.project[1])}
        for i in range(len(rates)):
            filters[f"dilated{i}"] = fold(model.convs[1 + i][0], model.convs[1 + i][1])

        def apply(name, v, rate=1):
            w, b = (torch.tensor(a.astype(np.float64)) for a in filters[name])
            return F.relu(F.conv2d(v, w, b, padding=rate * (w.shape[2] // 2), dilation=rate))

        parts = [apply("point", t)] + [apply(f"dilated{i}", t, r) for i, r in enumerate(rates)]
        mean = apply("pool", F.adaptive_avg_pool2d(t, 1))
        parts.append(F.interpolate(mean, size=shape[2:], mode="bilinear", align_corners=False))
        y = apply("project", torch.cat(parts, dim=1)).numpy()
        worst = np.max(np.abs(y - model(t).detach().numpy()))
        assert worst < 1e-5, f"{name}: torchvision's ASPP differs by {worst:.3g}"
        arrays = {f"{k}_{part}": v for k, f in filters.items() for part, v in zip(("weight", "bias"), f)}
        write(folder, "aspp_" + name, "aspp", x=x, y=y, rates=np.array(rates, dtype=np.int64),
              activation=np.frombuffer(b"relu", dtype=np.uint8), **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "scales"))
    folder = parser.parse_args().o
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    rng = np.random.default_rng(18)
    resizes(folder, rng)
    pools(folder, rng)
    pyramids(folder, rng)
    aspps(folder, rng)


if __name__ == "__main__":
    main()
