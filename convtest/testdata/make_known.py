#!/usr/bin/env python3
"""Write down answers that others published: ONNX's node cases, ONNX Runtime's and mmcv's literal numbers.

    python3 make_known.py [-o DIR]     (default: known/ beside this file; needs the onnx package beside torch)

The expected numbers are theirs, in as many digits as they printed; `atol` (float64, [1]) is what those digits leave
open. PyTorch computes every case too and has to agree within atol, so that a slip in copying cannot stay.

Beyond the format of make_cases.py a file may hold `op` (ASCII): conv_transpose (weight [C, K/g, R, S], int64
output_padding [2]), deform_pack (the layer that predicts its own offsets) or deform_roi_pool; see README.md.
"""

import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import deform_conv2d, roi_align

from make_cases import expected, formula, pair, quad

EPS = 2.0 ** -24


def text(s):
    return np.frombuffer(s.encode(), dtype=np.uint8)


def write(folder, name, arrays, atol, **params):
    out = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    for k, v in params.items():
        out[k] = text(v) if isinstance(v, str) else np.array(np.atleast_1d(v), dtype=np.int64)
    out["atol"] = np.array([atol], dtype=np.float64)
    np.savez_compressed(os.path.join(folder, name + ".npz"), **out)
    print(f"{name:44} y {str(out['y'].shape):16} atol {atol:.1e}")


def agree(name, what, got, want, atol):
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape, f"{name}: {what} is {want.shape}, PyTorch makes it {got.shape}"
    worst = np.max(np.abs(got - want), initial=0)
    assert worst <= atol, f"{name}: {what} differs from PyTorch by {worst:.3g}, allowed {atol:.3g}"


def conv(folder, name, a, y, *, s=1, p=0, d=1, g=1, og=0, atol=0.0, **grads):
    """A plain or deformable case in the format of make_cases.py, checked against PyTorch and the formula."""
    a = {k: np.array(v, dtype=np.float32) for k, v in a.items() if v is not None}
    y = np.array(y, dtype=np.float64)
    c = dict(kernel=a["weight"].shape[2:], k=a["weight"].shape[0], s=pair(s), p=quad(p), d=pair(d), g=g, og=og,
             mode="zeros")
    # Whatever the digits printed, y was rounded to float32 somewhere on its way here.
    atol = max(atol, 4 * EPS * float(np.max(np.abs(y), initial=1)))
    want = expected(c, a)
    agree(name, "y", want["y"], y, atol)
    agree(name, "y by the formula", formula(c, a), y, atol)
    for k, v in grads.items():
        agree(name, k, want[k], v, atol)
    write(folder, name, a | {"y": y} | {k: np.array(v, dtype=np.float64) for k, v in grads.items()}, atol,
          stride=c["s"], padding=c["p"], dilation=c["d"], groups=g, padding_mode="zeros")


# ---------------------------------------------------------------------------------------------------------------
# ONNX: backend node cases for Conv, ConvTranspose and DeformConv, read from the onnx package
# ---------------------------------------------------------------------------------------------------------------

def same(n, k, s, lower):
    """auto_pad SAME: ⌈n/s⌉ outputs, an odd pad after (UPPER) or before (LOWER)."""
    total = max((-(-n // s) - 1) * s + k - n, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def onnx_cases(folder):
    import onnx
    import onnx.backend.test.case.node as node

    for tc in node.collect_testcases(None):
        op = tc.model.graph.node[0]
        if op.op_type not in ("Conv", "ConvTranspose", "DeformConv"):
            continue
        inputs, outputs = tc.data_sets[0]
        names = {"X": "x", "x": "x", "W": "weight", "B": "bias", "mask": "mask"}
        a = {names.get(n, "offset"): v for n, v in zip(op.input, inputs)}
        y = outputs[0]
        at = {v.name: onnx.helper.get_attribute_value(v) for v in op.attribute}
        name = "onnx_" + tc.name.removeprefix("test_")
        if a["x"].ndim == 5:
            print(f"{name:44} left out: three dimensions")
            continue
        s, d, p = at.get("strides", [1, 1]), at.get("dilations", [1, 1]), at.get("pads", [0, 0, 0, 0])
        if a["x"].ndim == 3:  # one dimension is a height of 1
            a["x"], a["weight"], y = a["x"][:, :, None], a["weight"][:, :, None], y[:, :, None]
        h, w = a["x"].shape[2:]
        r, t = a["weight"].shape[2:]
        auto = at.get("auto_pad", b"NOTSET")
        if op.op_type != "ConvTranspose":
            if auto != b"NOTSET":
                (top, bottom), (left, right) = (same(h, r, s[0], auto == b"SAME_LOWER"),
                                                same(w, t, s[1], auto == b"SAME_LOWER"))
                p = [top, left, bottom, right]
            conv(folder, name, a, y, s=s, p=p, d=d, g=at.get("group", 1),
                 og=at.get("offset_group", 1) if op.op_type == "DeformConv" else 0)
            continue
        op_pad = list(at.get("output_padding", [0, 0]))
        sizes = at.get("output_shape") or ([h * s[0], w * s[1]] if auto != b"NOTSET" else None)
        if sizes:
            for i, (n, k) in enumerate(((h, r), (w, t))):
                total = s[i] * (n - 1) + op_pad[i] + d[i] * (k - 1) + 1 - sizes[i]
                if total < 0:  # more asked for than there is: it goes to the end
                    op_pad[i], total = op_pad[i] - total, 0
                before = total // 2 if auto == b"SAME_UPPER" else total - total // 2
                p = list(p)
                p[i], p[i + 2] = before, total - before
        transpose(folder, name, a["x"], a["weight"], y, s=s, p=p, d=d, g=at.get("group", 1), op_pad=op_pad)


def transpose(folder, name, x, weight, y, *, s, p, d, g, op_pad):
    """output = s(n−1) + d(k−1) + 1 + output_padding − pads: the full result, zeros behind it, then cut."""
    full = F.conv_transpose2d(torch.from_numpy(x).double(), torch.from_numpy(weight).double(), stride=tuple(s),
                              dilation=tuple(d), groups=g).numpy()
    full = np.pad(full, ((0, 0), (0, 0), (0, op_pad[0]), (0, op_pad[1])))
    full = full[:, :, p[0]:full.shape[2] - p[2], p[1]:full.shape[3] - p[3]]
    atol = 4 * EPS * float(np.max(np.abs(y), initial=1))
    agree(name, "y", full, y, atol)
    write(folder, name, {"x": x, "weight": weight, "y": y.astype(np.float64)}, atol, op="conv_transpose", stride=s,
          padding=p, dilation=d, groups=g, output_padding=op_pad, padding_mode="zeros")


# ---------------------------------------------------------------------------------------------------------------
# ONNX Runtime: onnxruntime/test/providers/cpu/nn/deform_conv_op_test.cc. Its comparisons allow 1e-5 (1e-4 where the
# inputs themselves were printed in six decimals).
# ---------------------------------------------------------------------------------------------------------------

def ort(folder, name, n, c, k, g, og, kernel, h, w, y, *, s=1, p=0, d=1, x=0.1, weight=0.1, offset=0.0, mask=1.0,
        bias=0.0, atol=1e-8):
    """One of its tests; where a tensor is given as one number, it is filled with it. y has its shape from the rest."""
    (r, t), (sy, sx), (top, left, bottom, right), (dy, dx) = pair(kernel), pair(s), quad(p), pair(d)
    ho, wo = (h + top + bottom - dy * (r - 1) - 1) // sy + 1, (w + left + right - dx * (t - 1) - 1) // sx + 1

    def fill(v, *shape):
        v = np.asarray(v, dtype=np.float32)
        return np.full(shape, v) if v.ndim == 0 else v.reshape(shape)

    a = {"x": fill(x, n, c, h, w), "weight": fill(weight, k, c // g, r, t), "bias": fill(bias, k),
         "offset": fill(offset, n, 2 * og * r * t, ho, wo),
         "mask": None if mask is None else fill(mask, n, og * r * t, ho, wo)}
    y = np.broadcast_to(np.asarray(y, np.float64), (n, k, ho, wo)) if np.ndim(y) != 1 else np.reshape(y, (n, k, ho, wo))
    conv(folder, "ort_" + name, a, y, s=s, p=p, d=d, g=g, og=og, atol=atol)


def ort_cases(folder):
    square = [1, 2, 3, 4]
    ort(folder, "minimal_bilinear", 1, 1, 1, 1, 1, 1, 2, 2, [2.5, 1, 3, 4], x=square, weight=1,
        offset=[0.5, 0, 0, 0, 0.5, -1, 0, 0])
    per_channel = np.array([0.58, -0.42]).reshape(1, 2, 1, 1)
    ort(folder, "mask_and_bias", 2, 4, 2, 2, 2, 2, 3, 3, per_channel, bias=[0.5, -0.5])
    ort(folder, "no_mask", 1, 2, 2, 1, 1, 2, 3, 3, 0.08, mask=None)
    ort(folder, "empty_batch", 0, 2, 2, 1, 1, 2, 3, 3, 0.0, mask=None)
    ort(folder, "opset22", 1, 1, 1, 1, 1, 1, 2, 2, [2.5, 2, 3, 4], x=square, weight=1,
        offset=[0.5, 0, 0, 0, 0.5, 0, 0, 0])
    ort(folder, "non_square_kernel", 1, 1, 1, 1, 1, (2, 3), 4, 5, 0.06)
    ort(folder, "asymmetric_stride", 1, 1, 1, 1, 1, 2, 5, 4, 0.04, s=(2, 1))
    ort(folder, "out_of_bounds", 1, 1, 1, 1, 1, 1, 2, 2, 0.0, x=square, weight=1, offset=-5)
    ort(folder, "dilation_2", 1, 1, 1, 1, 1, 2, 5, 5, 0.04, d=2)
    ort(folder, "decoupled_groups", 1, 4, 2, 2, 1, 2, 3, 3, 0.08)
    ort(folder, "asymmetric_padding", 1, 1, 1, 1, 1, 2, 3, 3,
        [0.02, 0.02, 0.01, 0.04, 0.04, 0.02, 0.04, 0.04, 0.02], p=(1, 0, 0, 1))
    ort(folder, "tiny_offset", 1, 1, 1, 1, 1, 1, 1, 1, [1], x=1, weight=1, offset=1e-6, atol=1e-5)
    ort(folder, "offset_at_pixel_centers", 1, 1, 1, 1, 1, 2, 2, 2, [1.6875], x=square, weight=0.25, offset=0.5)
    ort(folder, "large_batch", 64, 1, 1, 1, 1, 2, 3, 3, 0.04)
    ort(folder, "group1_offset_group2", 1, 4, 2, 1, 2, 2, 3, 3, 0.16)
    ort(folder, "mask_with_zeros", 1, 1, 1, 1, 1, 2, 3, 3, 0.0, mask=0)
    ort(folder, "aspect_1x100", 1, 1, 1, 1, 1, (1, 3), 1, 100, 0.03)
    ort(folder, "groups_with_offsets", 1, 4, 2, 2, 2, 2, 3, 3, atol=5e-6,
        x=[0.296112, 0.516562, 0.251671, 0.688557, 0.073972, 0.866522, 0.136580, 0.102479, 0.184056, 0.726447,
           0.315254, 0.687107, 0.075635, 0.196638, 0.316412, 0.401740, 0.118568, 0.827395, 0.382084, 0.660494,
           0.853572, 0.593153, 0.636725, 0.982629, 0.274495, 0.658376, 0.277542, 0.857325, 0.899328, 0.039014,
           0.926823, 0.738757, 0.717884, 0.705837, 0.915650, 0.433980],
        weight=[-1.182045, -0.287745, -0.604301, 0.600237, -1.420473, -0.223828, 0.430555, -0.898857, -0.017858,
                0.426403, -0.765741, -0.054514, -0.732053, 1.234742, 1.186221, -0.220099],
        offset=[-0.388483, -0.934346, -0.499144, -1.086653, 0.962421, 0.249208, -0.484502, -2.092915, 0.098284,
                -0.093507, 0.266215, -0.585035, -0.343038, -0.682148, -0.988689, -1.701830, -1.220290, 1.313853,
                1.053300, 0.138805, -0.204445, -2.268529, -0.913328, -0.420363, -0.659559, -0.797928, 0.183831,
                0.229347, 0.617743, -0.287578, 0.821824, 0.151178, -0.044382, 1.623557, -2.322871, 1.087831,
                -0.063545, -0.448641, -1.278470, -1.144004, -0.152640, 0.116741, 0.440260, -1.446546, -0.558082,
                -0.051696, -0.908273, 0.350683, -0.394809, 0.489227, -0.216815, -1.747165, 1.722842, 0.773806,
                0.404630, -1.646126, -0.595084, -0.711218, 0.622965, -1.372881, -0.128065, -1.283835, -0.290120,
                1.276741],
        bias=[0.983955, 0.204512],
        mask=[-0.031861, -0.478956, 0.766809, 0.027468, 0.047470, -0.923866, -1.060737, -2.324446, -2.062818,
              0.006375, -0.989555, 0.701609, -0.982238, 0.277031, 0.645495, -0.895681, 0.492753, -0.014078,
              -0.274663, -0.764091, -0.587157, 1.195165, -1.209575, -0.556008, -0.077105, 1.277377, -1.459629,
              -2.159528, -0.706709, -0.922245, 3.895372, -0.602697],
        y=[0.971546, 1.139858, 0.452817, 1.863882, -0.565266, 1.423187, -2.462833, -0.104923])


# ---------------------------------------------------------------------------------------------------------------
# mmcv: tests/test_ops/test_deform_conv.py, test_modulated_deform_conv.py, test_deform_roi_pool.py
# ---------------------------------------------------------------------------------------------------------------

def pack(folder, name, x, weight, offset_weight, offset_bias, pad, modulated, atol, **literal):
    """The layer that predicts its own offsets, dy = 1: gradients reach x and the predictor through the offsets.

    mmcv gives an offset no gradient where the sample's position fails its border test (y ≤ −1, y ≥ H, the same
    for x); torchvision does not look at that test in the backward pass. They differ for samples at exactly −1, which
    the second case is full of. So torchvision's gradient is gated by mmcv's rule between the two halves.
    """
    a = {k: np.array(v, dtype=np.float32) for k, v in
         dict(x=x, weight=weight, offset_weight=offset_weight, offset_bias=offset_bias).items()}
    t = {k: torch.from_numpy(v).double().requires_grad_() for k, v in a.items()}
    h, w = a["x"].shape[2:]
    r, s = a["weight"].shape[2:]
    predicted = F.conv2d(t["x"], t["offset_weight"], t["offset_bias"], padding=pad)
    seen = predicted.detach().requires_grad_()
    points = 2 * r * s
    offset, mask = (seen[:, :points], seen[:, points:].sigmoid()) if modulated else (seen, None)
    y = deform_conv2d(t["x"], offset, t["weight"], padding=(pad, pad), mask=mask)
    y.sum().backward()
    for i in range(r * s):
        py = torch.arange(y.shape[2])[:, None] - pad + i // s + offset.detach()[:, 2 * i]
        px = torch.arange(y.shape[3])[None, :] - pad + i % s + offset.detach()[:, 2 * i + 1]
        outside = (py <= -1) | (py >= h) | (px <= -1) | (px >= w)
        seen.grad[:, 2 * i][outside] = 0
        seen.grad[:, 2 * i + 1][outside] = 0
    predicted.backward(seen.grad)
    lit = {k: np.array(v, dtype=np.float64) for k, v in literal.items()}
    got = {"y": y.detach()} | {"d" + k: v.grad for k, v in t.items()}
    for k, v in lit.items():
        agree(name, k, got[k.removeprefix("mmcv_")].numpy(), v, atol)
    dy = np.ones(lit["y"].shape, dtype=np.float32)
    write(folder, name, a | {"dy": dy} | lit, atol, op="deform_pack", modulated=int(modulated), stride=(1, 1),
          padding=quad(pad), dilation=(1, 1), groups=1, padding_mode="zeros")


def mmcv_cases(folder):
    # Offsets that are predicted, v1, one image of the ten equal ones in the test (whose gradients it divides by ten).
    pack(folder, "mmcv_deform_pack_v1", [[[[1, 2, 3], [0, 1, 2], [3, 5, 2]]]], [[[[0.4, 0.2], [0.1, 0.9]]]],
         np.reshape([0.1, 0.4, 0.6, 0.1, 0.3, 0.2, 0.1, 0.3, 0.5, 0.5, 0.2, 0.8, 0.8, 0.3, 0.9, 0.1,
                     0.3, 0.1, 0.2, 0.5, 0.3, 0.7, 0.5, 0.3, 0.6, 0.2, 0.5, 0.3, 0.4, 0.1, 0.8, 0.4], (8, 1, 2, 2)),
         [0.7, 0.1, 0.8, 0.5, 0.6, 0.5, 0.4, 0.7], 0, False, 2e-6,
         y=[[[[1.650, 0], [0, 0]]]],
         dx=[[[[-0.666, 0.204, 0], [0.030, -0.416, 0.012], [0, 0.252, 0.129]]]],
         dweight=[[[[3.62, 0], [0.40, 0.18]]]],
         doffset_weight=[[[[1.44, 2.88], [0, 1.44]]], [[[-0.72, -1.44], [0, -0.72]]], [[[0, 0], [0, 0]]],
                         [[[0, 0], [0, 0]]], [[[-0.10, -0.20], [0, -0.10]]], [[[-0.08, -0.16], [0, -0.08]]],
                         [[[-0.54, -1.08], [0, -0.54]]], [[[-0.54, -1.08], [0, -0.54]]]],
         doffset_bias=[1.44, -0.72, 0, 0, -0.10, -0.08, -0.54, -0.54])
    # v2 with its initial zero predictor: every sample on a whole pixel, every mask sigmoid(0) = 1/2. By the offsets
    # at exactly −1 torchvision's gradients, which this project follows, are others: mmcv's have names of their own.
    pack(folder, "mmcv_deform_pack_v2", [[[[1, 2, 3]] * 3]], np.ones((1, 1, 2, 2)), np.zeros((12, 1, 2, 2)),
         np.zeros(12), 1, True, 1e-12,
         y=[[[[0.5, 1.5, 2.5, 1.5], [1, 3, 5, 3], [1, 3, 5, 3], [0.5, 1.5, 2.5, 1.5]]]],
         dx=np.full((1, 1, 3, 3), 2.0),
         dweight=np.full((1, 1, 2, 2), 9.0),
         mmcv_doffset_weight=np.reshape([-7, -4, 0, 0, -9, 7.5, -6, 5, -4, -7, 0, 0, -7.5, -9, -5, -6,
                                    -7, -4, -7, -4, -6, 5, -9, 7.5, -4, -7, -4, -7, -5, -6, -7.5, -9,
                                    10.5, 6, 7, 4, 6, 10.5, 4, 7, 7, 4, 10.5, 6, 4, 7, 6, 10.5], (12, 1, 2, 2)),
         mmcv_doffset_bias=[-3, -1.5, -3, -1.5, -3, -1.5, -3, -1.5, 4.5, 4.5, 4.5, 4.5])

    # Deformable RoI pooling with its initial zero offsets, 2x2 bins, 2 samples a bin a side, gamma 0.1.
    image = [[[[1, 2], [3, 4]]]]
    corner = [[3.0625, 0.4375], [0.4375, 0.0625]]
    pool(folder, "mmcv_deform_roi_pool_2x2", image, [[0, 0, 0, 1, 1]], [[[[1, 1.25], [1.5, 1.75]]]], [[corner]])
    pool(folder, "mmcv_deform_roi_pool_2x2_c2", [image[0] + [[[4, 3], [2, 1]]]], [[0, 0, 0, 1, 1]],
         [[[[1, 1.25], [1.5, 1.75]], [[4, 3.75], [3.5, 3.25]]]], [[corner, corner]])
    pool(folder, "mmcv_deform_roi_pool_4x4",
         [[[[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]]], [[0, 0, 0, 3, 3]],
         [[[[1.9375, 4.75], [7.5625, 10.375]]]],
         [[[[0.47265625, 0.4296875, 0.4296875, 0.04296875], [0.4296875, 0.390625, 0.390625, 0.0390625],
            [0.4296875, 0.390625, 0.390625, 0.0390625], [0.04296875, 0.0390625, 0.0390625, 0.00390625]]]])


def pool(folder, name, x, rois, y, dx):
    x, rois = np.array(x, dtype=np.float32), np.array(rois, dtype=np.float32)
    y, dx = np.array(y, dtype=np.float64), np.array(dx, dtype=np.float64)
    t = torch.from_numpy(x).double().requires_grad_()
    # With zero offsets it is RoIAlign, boxes moved by half a pixel ("aligned").
    got = roi_align(t, torch.from_numpy(rois).double(), (2, 2), 1.0, sampling_ratio=2, aligned=True)
    got.sum().backward()
    agree(name, "y", got.detach().numpy(), y, 1e-12)
    agree(name, "dx", t.grad.numpy(), dx, 1e-12)
    write(folder, name, {"x": x, "rois": rois, "offset": np.zeros((len(rois), 2, 2, 2), np.float32), "y": y,
                         "dy": np.ones(y.shape, np.float32), "dx": dx, "spatial_scale": np.array([1.0]),
                         "gamma": np.array([0.1])}, 1e-12, op="deform_roi_pool", sampling_ratio=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "known"))
    folder = parser.parse_args().o
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    onnx_cases(folder)
    ort_cases(folder)
    mmcv_cases(folder)


if __name__ == "__main__":
    main()
