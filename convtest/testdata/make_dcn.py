#!/usr/bin/env python3
"""Make the outside cases of DCNv3, DCNv4 and deformable RoI pooling: PyTorch computes, this project is compared.

    python3 make_dcn.py [-o DIR]     (default: into dcn/ beside this file)

The published operators are CUDA extensions; DCNv3 also has a reference function in PyTorch. Here each operator is
written once more as a PyTorch expression, in float64, and automatic differentiation gives the gradients. DCNv3 is
computed a second time the way its reference function does it, by grid_sample on the padded image, and has to agree.

Inputs are float32, drawn from a generator seeded by the case's name.
"""

import argparse
import os
import zlib

import numpy as np
import torch
import torch.nn.functional as F

WRITTEN = []


def rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def leaf(a):
    return torch.tensor(a.astype(np.float64), requires_grad=True)


def gather(image, iy, ix):
    """image [C, H, W] at integer positions of any shape; 0 outside."""
    h, w = image.shape[-2:]
    inside = (iy >= 0) & (iy < h) & (ix >= 0) & (ix < w)
    flat = image.flatten(1)[:, (iy.clamp(0, h - 1) * w + ix.clamp(0, w - 1)).flatten()].reshape(-1, *iy.shape)
    return torch.where(inside, flat, torch.zeros_like(flat))


def bilinear(image, y, x):
    """Zero-padded bilinear samples; the slope at a whole pixel is that of the cell after it."""
    y0, x0 = y.detach().floor(), x.detach().floor()
    fy, fx = y - y0, x - x0
    y0, x0 = y0.clamp(-2, 10**6).long(), x0.clamp(-2, 10**6).long()
    return ((1 - fy) * (1 - fx) * gather(image, y0, x0) + (1 - fy) * fx * gather(image, y0, x0 + 1)
            + fy * (1 - fx) * gather(image, y0 + 1, x0) + fy * fx * gather(image, y0 + 1, x0 + 1))


# ---------------------------------------------------------------------------------------------------------------
# DCNv3 and DCNv4
# ---------------------------------------------------------------------------------------------------------------

def points(kernel, remove_center):
    """Points as (row, column), x-major: the column changes slowest."""
    r, s = kernel
    all_points = [(j, i) for i in range(s) for j in range(r)]
    if remove_center:
        all_points.remove((r // 2, s // 2))
    return all_points


def dcn(x, offset, mask, o):
    """x [N, C, H, W], offset [N, Ho, Wo, G, P, 2] in (x, y) order, mask [N, Ho, Wo, G, P] -> [N, C, Ho, Wo]."""
    n, c = x.shape[:2]
    ho, wo, g = offset.shape[1:4]
    if o["softmax"]:
        mask = mask.softmax(-1)
    cy, cx = o["dilation"][0] * (o["kernel"][0] - 1) // 2, o["dilation"][1] * (o["kernel"][1] - 1) // 2
    oy = (torch.arange(ho) * o["stride"][0] - o["padding"][0] + cy).double()[:, None]
    ox = (torch.arange(wo) * o["stride"][1] - o["padding"][1] + cx).double()[None, :]
    images = []
    for b in range(n):
        groups = []
        for q in range(g):
            total = 0
            for t, (r, s) in enumerate(points(o["kernel"], o["remove_center"])):
                px = ox + (s * o["dilation"][1] - cx + offset[b, :, :, q, t, 0]) * o["scale"]
                py = oy + (r * o["dilation"][0] - cy + offset[b, :, :, q, t, 1]) * o["scale"]
                total = total + bilinear(x[b, q * c // g:(q + 1) * c // g], py, px) * mask[b, :, :, q, t]
            groups.append(total)
        images.append(torch.cat(groups))
    return torch.stack(images)


def dcn_by_grid_sample(x, offset, mask, o):
    """The same by grid_sample on the padded image, as the reference function computes it."""
    n, c = x.shape[:2]
    ho, wo, g, p = offset.shape[1:5]
    if o["softmax"]:
        mask = mask.softmax(-1)
    top, left, bottom, right = o["padding"]
    x = F.pad(x, (left, right, top, bottom))
    h, w = x.shape[2:]
    cy, cx = o["dilation"][0] * (o["kernel"][0] - 1) // 2, o["dilation"][1] * (o["kernel"][1] - 1) // 2
    ref = torch.stack(torch.meshgrid(cy + torch.arange(ho) * o["stride"][0], cx + torch.arange(wo) * o["stride"][1],
                                     indexing="ij")[::-1], -1).double()
    grid = torch.tensor([(s * o["dilation"][1] - cx, r * o["dilation"][0] - cy)
                         for r, s in points(o["kernel"], o["remove_center"])]).double()
    at = ref[None, :, :, None, None] + (grid + offset) * o["scale"]
    at = (2 * at + 1) / torch.tensor([w, h]).double() - 1
    at = at.permute(0, 3, 1, 2, 4, 5).reshape(n * g, ho * wo, p, 2)
    samples = F.grid_sample(x.reshape(n * g, c // g, h, w), at, mode="bilinear", padding_mode="zeros", align_corners=False)
    m = mask.permute(0, 3, 1, 2, 4).reshape(n * g, 1, ho * wo, p)
    return (samples * m).sum(-1).reshape(n, c, ho, wo)


def dcn_case(version, name, x, g=1, k=3, s=1, p=1, d=1, scale=1.0, rc=False, softmax=False, offsets="gauss"):
    name = f"dcnv{version}_{name}"
    two = lambda v: (v, v) if isinstance(v, int) else v
    pads = two(p) if len(np.atleast_1d(p)) < 4 else p
    pads = pads if len(pads) == 4 else (pads[0], pads[1], pads[0], pads[1])
    o = dict(kernel=two(k), stride=two(s), padding=pads, dilation=two(d), scale=scale, remove_center=rc, softmax=softmax)
    n, c, h, w = x
    ho = (h + pads[0] + pads[2] - o["dilation"][0] * (o["kernel"][0] - 1) - 1) // o["stride"][0] + 1
    wo = (w + pads[1] + pads[3] - o["dilation"][1] * (o["kernel"][1] - 1) - 1) // o["stride"][1] + 1
    np_ = len(points(o["kernel"], rc))
    r = rng(name)
    xs = r.standard_normal(x).astype(np.float32)
    off = r.standard_normal((n, ho, wo, g, np_, 2)).astype(np.float32)
    if offsets == "whole":
        off = np.round(off)
    elif offsets == "oob":
        off = off * 8
    elif offsets == "zero":
        off = off * 0
    m = r.standard_normal((n, ho, wo, g, np_)).astype(np.float32)
    if not softmax:
        m = (1 / (1 + np.exp(-m))).astype(np.float32) if version == 3 else m
    dy = r.standard_normal((n, c, ho, wo)).astype(np.float32)
    tx, to, tm = leaf(xs), leaf(off), leaf(m)
    y = dcn(tx, to, tm, o)
    y.backward(torch.tensor(dy).double())
    again = dcn_by_grid_sample(tx, to, tm, o)
    if y.numel():
        assert (y - again).abs().max() < 1e-9, name
    nchw = lambda a: np.ascontiguousarray(np.moveaxis(a.reshape(n, ho, wo, -1), 3, 1))
    out = dict(x=xs, dy=dy, y=y.detach().numpy(), dx=tx.grad.numpy())
    if version == 3:
        out.update(offset=nchw(off), mask=nchw(m), doffset=nchw(to.grad.numpy()), dmask=nchw(tm.grad.numpy()))
    else:
        def pack(a, b):
            packed = np.concatenate([a.reshape(n, ho, wo, g, -1), b], -1).reshape(n, ho, wo, -1)
            fill = -packed.shape[3] % 8
            # What fills up to a multiple of 8 must not matter.
            return nchw(np.concatenate([packed, np.full((n, ho, wo, fill), 7 if a is off else 0, packed.dtype)], -1))
        out.update(offset=pack(off, m), doffset=pack(to.grad.numpy(), tm.grad.numpy()))
    ints = dict(kernel=o["kernel"], stride=o["stride"], padding=pads, dilation=o["dilation"], groups=[g],
                remove_center=[int(rc)], softmax=[int(softmax)])
    out.update({key: np.array(v, np.int64) for key, v in ints.items()}, offset_scale=np.array([scale]))
    write(name, f"dcnv{version}", out)


def dcn_cases():
    for v in (3, 4):
        case = lambda *a, **o: dcn_case(v, *a, **o)
        case("plain", (2, 2, 2, 3))
        case("g2", (1, 4, 2, 3), g=2)
        case("g4_rc", (1, 4, 2, 2), g=4, rc=True)
        case("s2_d2", (1, 2, 5, 6), s=2, p=2, d=2)
        case("scale2_g2", (1, 4, 3, 2), g=2, scale=2.0)
        case("scale05_rc", (1, 3, 3, 3), scale=0.5, rc=True)
        case("softmax_g2", (1, 4, 2, 3), g=2, softmax=True)
        case("softmax_scale15_rc_s2", (1, 2, 5, 6), s=2, scale=1.5, rc=True, softmax=True)
        case("2x4_asym_d1x2", (1, 3, 3, 4), k=(2, 4), p=(0, 1, 2, 3), d=(1, 2))
        case("4x2_s2x1_scale3", (1, 2, 5, 3), k=(4, 2), s=(2, 1), p=2, scale=3.0)
        case("1x1", (2, 3, 2, 3), g=3, k=1, p=0)
        case("5x5_rc", (1, 2, 2, 3), k=5, p=2, rc=True)
        case("oob", (1, 2, 3, 4), offsets="oob")
    # Whole pixels: grid_sample scales positions to and fro, so its kink is not just there; the values are.
    dcn_case(3, "whole", (1, 2, 4, 4), offsets="whole")
    dcn_case(3, "zero_p2", (1, 2, 3, 3), p=2, offsets="zero", scale=2.0)


# ---------------------------------------------------------------------------------------------------------------
# Deformable RoI pooling
# ---------------------------------------------------------------------------------------------------------------

def edge_sample(image, y, x, up):
    """image [H, W]; between the outer pixels' centers and the border the edge counts. up: the upper neighbour is the
    next pixel (mmcv), else the position rounded up (the authors' operator)."""
    h, w = image.shape
    y, x = y.clamp(0, h - 1), x.clamp(0, w - 1)
    y0, x0 = int(y.detach().floor()), int(x.detach().floor())
    if up:
        y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
    else:
        y1, x1 = int(y.detach().ceil()), int(x.detach().ceil())
    fy, fx = y - y0, x - x0
    return ((1 - fy) * (1 - fx) * image[y0, x0] + (1 - fy) * fx * image[y0, x1]
            + fy * (1 - fx) * image[y1, x0] + fy * fx * image[y1, x1])


def deform_roi_pool(x, rois, offset, mask, bins, scale, ratio, gamma):
    out = []
    for r, (b, x1, y1, x2, y2) in enumerate(rois.tolist()):
        w0, h0 = x1 * scale - 0.5, y1 * scale - 0.5
        rw, rh = x2 * scale - 0.5 - w0, y2 * scale - 0.5 - h0
        bh, bw = rh / bins[0], rw / bins[1]
        gh, gw = (ratio, ratio) if ratio > 0 else (int(np.ceil(bh)), int(np.ceil(bw)))
        for c in range(x.shape[1]):
            for ph in range(bins[0]):
                for pw in range(bins[1]):
                    dw, dh = torch.zeros(()).double(), torch.zeros(()).double()
                    if offset is not None:
                        dw, dh = gamma * rw * offset[r, 0, ph, pw], gamma * rh * offset[r, 1, ph, pw]
                    total = 0 * x.sum()
                    for iy in range(gh):
                        y = h0 + dh + ph * bh + (iy + 0.5) * bh / gh
                        for ix in range(gw):
                            u = w0 + dw + pw * bw + (ix + 0.5) * bw / gw
                            if not (y < -1 or y > x.shape[2] or u < -1 or u > x.shape[3]):
                                total = total + edge_sample(x[int(b), c], y, u, True)
                    total = total / max(gh * gw, 1)
                    out.append(total if mask is None else total * mask[r, 0, ph, pw])
    return torch.stack(out).reshape(len(rois), x.shape[1], *bins)


def deform_psroi_pool(x, rois, trans, mask, o):
    """The authors' operator: o = output channels k, group size, pooled size, part size, samples, scale, std, classes."""
    out = []
    up = lambda v: np.floor(abs(v) + 0.5) * np.sign(v)
    for r, (b, x1, y1, x2, y2) in enumerate(rois.tolist()):
        w0, h0 = up(x1) * o["scale"] - 0.5, up(y1) * o["scale"] - 0.5
        rw = max((up(x2) + 1) * o["scale"] - 0.5 - w0, 0.1)
        rh = max((up(y2) + 1) * o["scale"] - 0.5 - h0, 0.1)
        bh, bw = rh / o["pooled"], rw / o["pooled"]
        sh, sw = bh / o["samples"], bw / o["samples"]
        for k in range(o["k"]):
            cls = k // (o["k"] // o["classes"])
            for ph in range(o["pooled"]):
                for pw in range(o["pooled"]):
                    py, px = ph * o["part"] // o["pooled"], pw * o["part"] // o["pooled"]
                    dw, dh = torch.zeros(()).double(), torch.zeros(()).double()
                    if trans is not None:
                        dw, dh = trans[r, 2 * cls, py, px] * o["std"] * rw, trans[r, 2 * cls + 1, py, px] * o["std"] * rh
                    c = (k * o["group"] + ph * o["group"] // o["pooled"]) * o["group"] + pw * o["group"] // o["pooled"]
                    total, count = 0 * x.sum(), 0
                    for ih in range(o["samples"]):
                        y = ph * bh + h0 + dh + ih * sh
                        for iw in range(o["samples"]):
                            u = pw * bw + w0 + dw + iw * sw
                            if u < -0.5 or u > x.shape[3] - 0.5 or y < -0.5 or y > x.shape[2] - 0.5:
                                continue
                            total, count = total + edge_sample(x[int(b), c], y, u, False), count + 1
                    total = total / max(count, 1)
                    out.append(total if mask is None else total * mask[r, cls, py, px])
    return torch.stack(out).reshape(len(rois), o["k"], o["pooled"], o["pooled"])


def regions(r, n, count, h, w, scale):
    a = r.uniform(-0.15, 1.15, (count, 4)) * np.array([w, h, w, h]) / scale
    lo, hi = np.minimum(a[:, :2], a[:, 2:]), np.maximum(a[:, :2], a[:, 2:])
    return np.concatenate([r.integers(0, n, (count, 1)), lo, hi], 1).astype(np.float32)


def roi_case(name, x, bins, rois=3, scale=1.0, ratio=0, gamma=np.float32(0.1), offset=True, mask=False, at=None, wide=1.0):
    name = "roipool_" + name
    r = rng(name)
    xs = r.standard_normal(x).astype(np.float32)
    rs = regions(r, x[0], rois, x[2], x[3], scale) if at is None else np.array(at, np.float32)
    off = (wide * r.standard_normal((len(rs), 2, *bins))).astype(np.float32)
    m = r.uniform(0, 1, (len(rs), 1, *bins)).astype(np.float32)
    tx, to, tm = leaf(xs), leaf(off) if offset else None, leaf(m) if mask else None
    y = deform_roi_pool(tx, rs.astype(np.float64), to, tm, bins, scale, ratio, float(gamma))
    save_roi(name, "deform_roi_pool", r, xs, rs, y, tx, (off, to), (m, tm), dict(
        bins=np.array(bins, np.int64), spatial_scale=np.array([scale]), gamma=np.array([gamma], np.float64),
        sampling_ratio=np.array([ratio], np.int64)))


def psroi_case(name, x, k, group, pooled, part=0, samples=4, scale=1.0, std=0.125, classes=1, rois=3, trans=True, mask=False):
    name = "psroipool_" + name
    part = part or pooled
    r = rng(name)
    n, h, w = x
    xs = r.standard_normal((n, k * group * group, h, w)).astype(np.float32)
    rs = regions(r, n, rois, h, w, scale)
    off = r.standard_normal((rois, 2 * classes, part, part)).astype(np.float32)
    m = r.uniform(0, 1, (rois, classes, part, part)).astype(np.float32)
    tx, to, tm = leaf(xs), leaf(off) if trans else None, leaf(m) if mask else None
    o = dict(k=k, group=group, pooled=pooled, part=part, samples=samples, scale=scale, std=std, classes=classes)
    y = deform_psroi_pool(tx, rs.astype(np.float64), to, tm, o)
    save_roi(name, "deform_psroi_pool", r, xs, rs, y, tx, (off, to), (m, tm), dict(
        sizes=np.array([k, group, pooled, part, samples, classes], np.int64), spatial_scale=np.array([scale]),
        trans_std=np.array([std])))


def save_roi(name, op, r, xs, rs, y, tx, offset, mask, rest):
    dy = r.standard_normal(y.shape).astype(np.float32)
    y.backward(torch.tensor(dy).double())
    out = dict(x=xs, rois=rs, dy=dy, y=y.detach().numpy(), dx=tx.grad.numpy(), **rest)
    for key, (a, t) in dict(offset=offset, mask=mask).items():
        if t is not None:
            out.update({key: a, "d" + key: np.zeros_like(a, np.float64) if t.grad is None else t.grad.numpy()})
    write(name, op, out)


def roi_cases():
    roi_case("plain", (2, 2, 8, 9), (3, 3))
    roi_case("2x4", (1, 2, 6, 10), (2, 4), ratio=2)
    roi_case("scale_16th", (1, 1, 7, 8), (2, 2), scale=0.0625)
    roi_case("mask", (1, 3, 7, 6), (2, 3), mask=True)
    roi_case("mask_alone", (2, 2, 6, 6), (2, 2), ratio=3, offset=False, mask=True)
    roi_case("no_offset", (1, 2, 8, 8), (4, 4), offset=False)
    roi_case("wide", (1, 2, 7, 7), (2, 2), ratio=2, wide=6.0)
    roi_case("gamma05", (1, 2, 9, 7), (3, 2), gamma=np.float32(0.5))
    roi_case("empty_and_back", (1, 2, 6, 6), (2, 2), at=[[0, 2, 2, 2, 2], [0, 4, 4, 1, 1]])
    roi_case("back_ratio2", (1, 2, 6, 6), (2, 2), ratio=2, at=[[0, 4, 4.5, 1, 1.25], [0, 1, 1, 1, 3]])
    roi_case("one_pixel_image", (1, 2, 1, 1), (2, 2), at=[[0, 0, 0, 1, 1], [0, -1, -1, 2, 2]])
    roi_case("ratio1_7x7", (1, 1, 9, 9), (7, 7), rois=2, ratio=1, scale=0.5)
    psroi_case("plain", (1, 5, 6), 2, 2, 2)
    psroi_case("batch2_g2", (2, 5, 4), 2, 2, 2)
    psroi_case("classes", (1, 4, 5), 4, 2, 3, classes=2, samples=2)
    psroi_case("part", (1, 5, 6), 2, 2, 4, part=2, samples=2)
    psroi_case("part_larger", (1, 5, 6), 1, 3, 3, part=5)
    psroi_case("no_trans", (1, 5, 5), 1, 3, 3, trans=False)
    psroi_case("mask", (1, 5, 6), 2, 2, 2, mask=True)
    psroi_case("mask_classes", (2, 5, 4), 4, 1, 3, classes=2, mask=True, samples=2)
    psroi_case("scale_16th", (1, 5, 6), 1, 3, 3, scale=0.0625)
    psroi_case("sample1", (1, 5, 5), 2, 2, 3, samples=1)
    psroi_case("std05", (1, 9, 7), 2, 1, 2, std=0.5)
    psroi_case("g1_7", (1, 9, 9), 1, 1, 7, rois=2, samples=2)


def write(name, op, arrays):
    arrays["op"] = np.frombuffer(op.encode(), np.uint8)
    np.savez_compressed(os.path.join(OUT, name + ".npz"), **arrays)
    WRITTEN.append(name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "dcn"))
    OUT = parser.parse_args().o
    os.makedirs(OUT, exist_ok=True)
    torch.set_num_threads(1)
    dcn_cases()
    roi_cases()
    print(f"{len(WRITTEN)} cases in {OUT}")
