#!/usr/bin/env python3
"""Compute resizes, global average poolings, pyramids and ASPP blocks by PyTorch, torchvision and NumPy in float64.

    python3 make_scales.py [-o DIR]     (default: scales/ beside this file; needs torch and torchvision)

Inputs are float32, results float64. Every file holds `op` (ASCII) and x:

    resize    align_corners (int64 [1]), y, dy, dx
    pool      y, dy, dx
    pyramid   level1, level2, ...: by the formula of Burt and Adelson 1983, with the edge pixel repeated. Those with
              gradients also dlevel1, ..., and dx, by automatic differentiation of a PyTorch convolution that has to agree
    aspp      rates (int64), activation (ASCII), point_weight, point_bias, dilated0_weight, ..., pool_weight, pool_bias,
              project_weight, project_bias, y. Batch norm is folded into them, in float64 and rounded once, and
              torchvision's own ASPP with the batch norm has to agree but for that rounding.
              Those with gradients are without batch norm: dy, dx, dpoint_weight, dpoint_bias, ...
    deform_pack  mmcv's layer by torchvision's deform_conv2d, as in known/, with dy and every gradient; offsets keep
              0.001 away from whole pixels, where gradients jump
"""

import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models.segmentation.deeplabv3 import ASPP
from torchvision.ops import deform_conv2d


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


ACTIVATIONS = {"identity": lambda v: v, "relu": F.relu, "silu": F.silu, "gelu": F.gelu, "sigmoid": torch.sigmoid}


def leaf(a):
    return torch.tensor(a.astype(np.float64), requires_grad=True)


def aspp_gradients(folder, rng):
    for shape, rates, channels, outputs, name in [((2, 3, 6, 7), [1, 3], 3, 2, "relu"), ((1, 4, 5, 8), [2, 4, 9], 2, 3, "silu"),
                                                  ((2, 2, 7, 4), [], 2, 2, "gelu"), ((1, 2, 4, 4), [5], 3, 2, "identity")]:
        act = ACTIVATIONS[name]
        sizes = {"point": (channels, shape[1], 1, 1), "pool": (channels, shape[1], 1, 1),
                 "project": (outputs, channels * (2 + len(rates)), 1, 1)}
        sizes |= {f"dilated{i}": (channels, shape[1], 3, 3) for i in range(len(rates))}
        arrays = {f"{k}_weight": normal(rng, *s) for k, s in sizes.items()} | {f"{k}_bias": normal(rng, s[0]) for k, s in sizes.items()}
        arrays |= {"x": normal(rng, *shape)}
        t = {k: leaf(v) for k, v in arrays.items()}

        def apply(key, v, rate=1):
            w = t[key + "_weight"]
            return act(F.conv2d(v, w, t[key + "_bias"], padding=rate * (w.shape[2] // 2), dilation=rate))

        parts = [apply("point", t["x"])] + [apply(f"dilated{i}", t["x"], r) for i, r in enumerate(rates)]
        mean = apply("pool", F.adaptive_avg_pool2d(t["x"], 1))
        parts.append(F.interpolate(mean, size=shape[2:], mode="bilinear", align_corners=False))
        y = apply("project", torch.cat(parts, dim=1))
        dy = normal(rng, *y.shape)
        y.backward(torch.tensor(dy.astype(np.float64)))
        write(folder, f"aspp_grad_{name}", "aspp", y=y.detach().numpy(), dy=dy, rates=np.array(rates, dtype=np.int64),
              activation=np.frombuffer(name.encode(), dtype=np.uint8), **arrays, **{"d" + k: v.grad.numpy() for k, v in t.items()})


def pyramid_gradients(folder, rng):
    w = torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64) / 16
    for shape, levels, given in [((1, 2, 9, 12), 3, [1, 2, 3]), ((2, 3, 7, 5), 3, [2]), ((1, 1, 1, 8), 2, [1, 2])]:
        x = normal(rng, *shape)
        t = leaf(x)
        g, formula, out, loss = t, x.astype(np.float64), {}, 0
        for i in range(1, levels + 1):
            kernel = torch.outer(w, w)[None, None].repeat(shape[1], 1, 1, 1)
            g = F.conv2d(F.pad(g, (2, 2, 2, 2), mode="replicate"), kernel, stride=2, groups=shape[1])
            formula = reduce(formula)
            assert np.max(np.abs(g.detach().numpy() - formula)) < 1e-12
            out[f"level{i}"] = g.detach().numpy()
            if i in given:
                out[f"dlevel{i}"] = normal(rng, *g.shape)
                loss = loss + (g * torch.tensor(out[f"dlevel{i}"].astype(np.float64))).sum()
        loss.backward()
        write(folder, "pyramid_grad_" + "x".join(map(str, shape)), "pyramid", x=x, dx=t.grad.numpy(), **out)


def packs(folder, rng):
    for name, shape, k, kernel, p, modulated, og, groups in [
            ("v1", (2, 3, 6, 5), 4, (3, 3), dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1)), 0, 1, 1),
            ("v2", (2, 4, 5, 6), 3, (3, 3), dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1)), 1, 1, 1),
            ("v2_s2_d2_g2_og2", (1, 4, 9, 8), 4, (3, 2), dict(stride=(2, 1), padding=(2, 1), dilation=(2, 1)), 1, 2, 2),
            ("v1_og2", (1, 2, 5, 7), 2, (2, 3), dict(stride=(1, 2), padding=(0, 1), dilation=(1, 2)), 0, 2, 1)]:
        taps = kernel[0] * kernel[1] * og
        arrays = {"x": normal(rng, *shape), "weight": normal(rng, k, shape[1] // groups, *kernel), "bias": normal(rng, k),
                  "offset_weight": (0.2 * normal(rng, (3 if modulated else 2) * taps, shape[1], *kernel)).astype(np.float32),
                  "offset_bias": normal(rng, (3 if modulated else 2) * taps)}
        while True:
            t = {key: leaf(v) for key, v in arrays.items()}
            predicted = F.conv2d(t["x"], t["offset_weight"], t["offset_bias"], **p)
            offset = predicted[:, :2 * taps]
            near = (offset - offset.round()).abs().amin(dim=(0, 2, 3)).detach().numpy() < 1e-3
            if not near.any():
                break
            arrays["offset_bias"][:2 * taps][near] += np.float32(0.0123)
        mask = torch.sigmoid(predicted[:, 2 * taps:]) if modulated else None
        y = deform_conv2d(t["x"], offset, t["weight"], t["bias"], mask=mask, **p)
        dy = normal(rng, *y.shape)
        y.backward(torch.tensor(dy.astype(np.float64)))
        ints = {key: np.array(v, dtype=np.int64) for key, v in p.items()}
        ints["padding"] = np.array(p["padding"] * 2, dtype=np.int64)
        write(folder, "pack_" + name, "deform_pack", y=y.detach().numpy(), dy=dy, groups=np.array([groups], dtype=np.int64),
              modulated=np.array([modulated], dtype=np.int64), **ints, **arrays, **{"d" + key: v.grad.numpy() for key, v in t.items()})


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
    rng = np.random.default_rng(19)
    aspp_gradients(folder, rng)
    pyramid_gradients(folder, rng)
    packs(folder, rng)


if __name__ == "__main__":
    main()
