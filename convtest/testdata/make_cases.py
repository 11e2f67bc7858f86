#!/usr/bin/env python3
"""Make the outside test cases: PyTorch and torchvision compute, this project is compared.

    python3 make_cases.py [-o DIR] [NAME...]     (default: every case, into cases/ beside this file)

Inputs are float32, drawn from a generator seeded by the case's name, so one case can be made again without the
others. Expected arrays are float64: PyTorch gets the inputs cast up, so its own rounding is far below the error
bound of a float32 implementation.

Nothing is written on PyTorch's word alone. The forward result is computed a second time from the formula, in NumPy;
the gradients of everything the operator is linear in (x, weight, bias, mask) must satisfy the adjoint identity
<dx, v> = <dy, f(v)>, and the gradient of the offsets central differences where they are smooth. So the files don't
rest on this script having passed its arguments in the right order.
"""

import argparse
import os
import zlib

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.ops import deform_conv2d

# The names here, and what torch's and NumPy's padding call the same thing.
TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}

CASES = {}


def pair(v):
    return (v, v) if isinstance(v, int) else tuple(v)


def quad(v):
    """Padding as (top, left, bottom, right), from one number, (y, x), or all four."""
    v = pair(v)
    return v if len(v) == 4 else (v[0], v[1], v[0], v[1])


def case(name, x, k, kernel, *, s=1, p=0, d=1, g=1, mode="zeros", bias=True, grad=True, values="normal",
         og=0, mask=None, offsets="gauss"):
    """Note one case. x = (N, C, H, W); k output channels; og > 0 makes it deformable.

    values: how x and weight are drawn (see draw). mask: None, "sigmoid", "normal", "zero", "holes".
    offsets: see draw_offsets.
    """
    assert name not in CASES, name
    CASES[name] = dict(x=x, k=k, kernel=pair(kernel), s=pair(s), p=quad(p), d=pair(d), g=g, mode=mode, bias=bias,
                       grad=grad, values=values, og=og, mask=mask, offsets=offsets)


# ---------------------------------------------------------------------------------------------------------------
# The cases: plain and dilated
# ---------------------------------------------------------------------------------------------------------------

def conv_cases():
    # Sizes, the plain things first.
    case("conv_3x3", (2, 3, 8, 7), 5, 3, p=1)
    case("conv_3x3_valid_nobias", (1, 4, 6, 9), 3, 3, bias=False)
    case("conv_1x1", (2, 7, 5, 6), 17, 1)
    case("conv_1x1_s2", (1, 5, 7, 8), 3, 1, s=2)
    case("conv_1x1_p1", (1, 3, 4, 5), 2, 1, p=1)  # the border is bias alone
    case("conv_1x1_image", (1, 5, 1, 1), 3, 1)
    case("conv_3x3_on_1x1_image", (2, 3, 1, 1), 4, 3, p=1)
    case("conv_5x5_d3_on_1x1_image", (1, 2, 1, 1), 3, 5, p=6, d=3)
    case("conv_on_1x9", (1, 3, 1, 9), 2, (1, 3), p=(0, 1))
    case("conv_on_9x1_d2", (1, 3, 9, 1), 2, (3, 1), p=(2, 0), d=(2, 1))
    case("conv_1x7", (1, 2, 5, 11), 3, (1, 7), p=(0, 3))
    case("conv_7x1", (1, 2, 11, 5), 3, (7, 1), p=(3, 0))
    case("conv_2x2", (1, 3, 5, 6), 4, 2)
    case("conv_2x3_p1", (1, 3, 5, 6), 4, (2, 3), p=1)
    case("conv_4x4_s2_p1", (1, 3, 8, 8), 4, 4, s=2, p=1)
    case("conv_5x3_s1x2", (1, 3, 9, 8), 2, (5, 3), s=(1, 2), p=(2, 1))
    case("conv_9x9", (1, 1, 10, 12), 2, 9, p=4)
    case("conv_kernel_is_image", (2, 3, 6, 5), 4, (6, 5))
    case("conv_kernel_is_padded_image", (1, 3, 5, 4), 2, (7, 6), p=1)
    case("conv_d2_kernel_is_padded_image", (1, 3, 5, 3), 2, 3, p=(0, 1), d=2)

    # Strides and dilations, the dilation not dividing the padding, the stride not the dilation.
    case("conv_s2", (1, 4, 9, 8), 5, 3, s=2, p=1)
    case("conv_s3", (1, 3, 10, 11), 4, 3, s=3, p=1)
    case("conv_s5_skips_pixels", (1, 3, 13, 12), 2, 3, s=5)
    case("conv_s1x3", (1, 3, 6, 12), 2, 3, s=(1, 3), p=1)
    case("conv_d2", (1, 3, 9, 9), 4, 3, p=2, d=2)
    case("conv_d2_p1", (1, 3, 8, 9), 4, 3, p=1, d=2)
    case("conv_d2_p3", (1, 3, 7, 8), 4, 3, p=3, d=2)
    case("conv_d3_p2", (1, 3, 9, 8), 4, 3, p=2, d=3)
    case("conv_d3_s2_p5", (1, 4, 9, 8), 3, 3, s=2, p=5, d=3)
    case("conv_d4_s2_g3", (1, 6, 11, 10), 9, 3, s=2, p=4, d=4, g=3)
    case("conv_d4_p3_s3", (1, 3, 11, 12), 4, 3, s=3, p=3, d=4)
    case("conv_d5_p7", (1, 2, 6, 7), 3, 3, p=7, d=5)
    case("conv_d2_s3", (2, 3, 10, 11), 4, 3, s=3, p=2, d=2)
    case("conv_d2x3_s3x1", (1, 3, 12, 10), 2, 3, s=(3, 1), p=(1, 2), d=(2, 3))
    case("conv_d1x2_s2x1", (1, 3, 9, 9), 2, 3, s=(2, 1), p=(1, 2), d=(1, 2))
    case("conv_d2_2x2_p1", (1, 3, 6, 7), 2, 2, p=1, d=2)
    case("conv_d7_1x1", (1, 3, 4, 5), 2, 1, d=7)  # a dilation without effect
    case("conv_aspp_r6", (1, 5, 13, 13), 3, 3, p=6, d=6)
    case("conv_aspp_r12", (1, 5, 9, 9), 3, 3, p=12, d=12)  # only the middle tap meets the image
    case("conv_aspp_r18_s2", (1, 5, 7, 5), 3, 3, s=2, p=18, d=18)

    # Channels and groups.
    case("conv_c1_k1", (1, 1, 6, 7), 1, 3, p=1)
    case("conv_c3_k33", (1, 3, 5, 5), 33, 3, p=1)
    case("conv_c17_k7", (1, 17, 5, 4), 7, 3, p=1)
    case("conv_c33_k17_d2", (1, 33, 5, 5), 17, 3, p=2, d=2, grad=False)
    case("conv_c33_k1", (1, 33, 6, 5), 1, 3, p=1)
    case("conv_g2", (2, 6, 6, 7), 4, 3, p=1, g=2)
    case("conv_g3_c9_k15_d2", (1, 9, 7, 6), 15, 3, p=2, d=2, g=3)
    case("conv_g5_1x1", (1, 15, 4, 5), 10, 1, g=5)
    case("conv_g7_c7_k21_s2", (1, 7, 7, 8), 21, 3, s=2, p=1, g=7)
    case("dw_3x3", (1, 7, 8, 7), 7, 3, p=1, g=7)
    case("dw_d2", (1, 5, 9, 8), 5, 3, p=2, d=2, g=5)
    case("dw_d3_p1", (1, 3, 9, 10), 3, 3, p=1, d=3, g=3, bias=False)
    case("dw_d2_s2", (2, 4, 9, 10), 4, 3, s=2, p=2, d=2, g=4)
    case("dw_d2_s3_p1", (1, 5, 11, 10), 5, 3, s=3, p=1, d=2, g=5)
    case("dw_m2", (1, 5, 7, 6), 10, 3, p=1, g=5)
    case("dw_m2_d2_s2", (1, 3, 9, 8), 6, 3, s=2, p=2, d=2, g=3)
    case("dw_5x5_d2", (1, 3, 9, 9), 3, 5, p=4, d=2, g=3)
    case("dw_c33", (1, 33, 5, 4), 33, 3, p=1, g=33)
    case("dw_1x1", (1, 5, 3, 4), 5, 1, g=5)

    # Padding that differs on every side.
    case("conv_asym_0123", (1, 3, 7, 8), 4, 3, p=(0, 1, 2, 3))
    case("conv_asym_d2_s2", (1, 3, 8, 7), 4, 3, s=2, p=(1, 3, 2, 0), d=2)
    case("conv_asym_top", (1, 3, 5, 6), 2, 3, p=(4, 0, 0, 0))
    case("conv_asym_right_s3", (1, 3, 6, 5), 2, 3, s=3, p=(0, 0, 0, 5))
    case("dw_asym_d3", (1, 3, 9, 8), 3, 3, p=(3, 1, 0, 4), d=3, g=3)
    case("conv_asym_past_kernel", (1, 2, 3, 4), 2, 2, p=(3, 4, 2, 5))  # whole windows in the padding

    # Padding modes.
    for mode in ("reflect", "replicate", "circular"):
        case(f"conv_{mode}", (2, 3, 6, 7), 4, 3, p=1, mode=mode)
        case(f"conv_{mode}_d2_s2_asym", (1, 3, 7, 6), 2, 3, s=2, p=(2, 1, 3, 2), d=2, mode=mode)
        case(f"dw_{mode}_d3", (1, 3, 6, 7), 3, 3, p=3, d=3, g=3, mode=mode)
    case("conv_reflect_most", (1, 2, 4, 5), 2, 3, p=(3, 4, 3, 4), mode="reflect")  # H-1, W-1: all there is to reflect
    case("conv_circular_most", (1, 2, 4, 5), 2, 3, p=(4, 5, 4, 5), mode="circular")  # once around
    case("conv_replicate_past_image", (1, 2, 2, 3), 2, 3, p=(5, 4, 3, 6), mode="replicate")
    case("conv_replicate_1x1_image", (1, 3, 1, 1), 2, 3, p=1, mode="replicate")

    # Batches.
    case("conv_batch0", (0, 3, 6, 7), 4, 3, p=1)
    case("conv_batch0_d2_g2", (0, 4, 6, 7), 6, 3, s=2, p=2, d=2, g=2)
    case("conv_batch7", (7, 3, 5, 4), 2, 3, p=1)
    case("conv_batch33_1x1", (33, 3, 2, 2), 2, 1)

    # Values that make a careless sum or comparison show.
    case("conv_cancel", (1, 16, 5, 5), 3, 3, p=1, values="cancel", bias=False)
    case("conv_wide_range", (1, 5, 6, 6), 3, 3, p=1, values="wide")
    case("conv_zero_weight", (1, 3, 5, 5), 2, 3, p=1, values="zeroweight")


def torch_sample_cases():
    """PyTorch's own 15 sample convolutions (sample_inputs_conv2d); the tensors drawn here, the configurations theirs.

    "valid" is padding 0. "same" for a 2x3 kernel at dilation 3 is 3 rows and 6 columns in all, the odd one after.
    """
    samples = [
        ((1, 3, 4, 4), 3, (3, 3), True, dict(s=2, p=2)),
        ((2, 4, 8, 8), 2, (3, 3), True, dict(s=(3, 2), p=(2, 1), g=2, d=4)),
        ((1, 4, 5, 5), 1, (2, 3), True, dict(s=2, p=1, d=(2, 3))),
        ((1, 4, 5, 5), 1, (2, 3), True, dict(s=2, p=1, d=(2, 3))),
        ((1, 2, 4, 3), 4, (3, 4), False, dict(s=2, p=1)),
        ((1, 4, 5, 5), 1, (2, 3), True, dict(s=2)),
        ((1, 4, 5, 5), 1, (2, 3), True, dict(p=(1, 3, 2, 3), d=3)),
        ((2, 4, 6, 6), 4, (3, 3), True, dict(g=4)),
        ((2, 4, 6, 6), 8, (3, 3), True, dict(g=4)),
        ((2, 4, 6, 6), 8, (3, 3), False, dict(g=4)),
        ((2, 4, 6, 6), 4, (3, 3), True, dict(g=4, s=(3, 2))),
        ((2, 4, 6, 6), 4, (3, 3), True, dict(g=4, p=1)),
        ((2, 4, 5, 5), 4, (2, 2), True, dict(g=4, d=2)),
        ((2, 4, 6, 5), 6, (3, 2), True, dict(g=2)),
        ((1, 4, 5, 5), 3, (3, 3), False, {}),
    ]
    for i, (x, k, kernel, bias, rest) in enumerate(samples):
        case(f"torch_sample_{i:02d}", x, k, kernel, bias=bias, **rest)


# ---------------------------------------------------------------------------------------------------------------
# The cases: deformable
# ---------------------------------------------------------------------------------------------------------------

def deform_cases():
    # Each kind of offset, without and with a mask.
    for kind in ("zero", "gauss", "half", "whole", "edge", "tiny", "oob"):
        case(f"deform_v1_{kind}", (1, 3, 6, 5), 2, 3, p=1, og=1, offsets=kind)
        case(f"deform_v2_{kind}", (1, 2, 5, 6), 3, 3, p=1, og=1, offsets=kind, mask="sigmoid")

    # Groups of weights and of offsets, each without regard to the other.
    case("deform_v1_og2", (1, 4, 5, 6), 3, 3, p=1, og=2)
    case("deform_v2_og2_g1", (2, 4, 5, 5), 3, 3, p=1, og=2, mask="sigmoid")
    case("deform_v1_og1_g2", (1, 4, 5, 6), 6, 3, p=1, g=2, og=1)
    case("deform_v2_og3_g2_oob", (1, 6, 5, 4), 4, 3, p=1, g=2, og=3, offsets="oob", mask="sigmoid")
    case("deform_v2_og2_g3", (1, 6, 4, 5), 3, 3, p=1, g=3, og=2, mask="sigmoid")
    case("deform_v1_og_is_c", (1, 5, 4, 5), 2, 3, p=1, og=5)
    case("deform_dw_v1", (1, 5, 5, 5), 5, 3, p=1, g=5, og=1)
    case("deform_dw_v2_og_is_c_d2", (1, 3, 6, 5), 3, 3, p=2, d=2, g=3, og=3, mask="sigmoid")
    case("deform_dw_m2_s2", (1, 3, 7, 6), 6, 3, s=2, p=1, g=3, og=1, mask="sigmoid")

    # Strides, dilations, kernels, sizes.
    case("deform_v1_s2", (1, 3, 9, 8), 4, 3, s=2, p=1, og=1)
    case("deform_v2_d2", (1, 3, 7, 7), 4, 3, p=2, d=2, og=1, mask="sigmoid")
    case("deform_v1_d3_p2", (1, 3, 8, 7), 2, 3, p=2, d=3, og=1)
    case("deform_v2_d2_s3_p1", (1, 3, 10, 9), 2, 3, s=3, p=1, d=2, og=1, mask="sigmoid")
    case("deform_v2_d4_p3_s2x1", (1, 2, 9, 8), 3, 3, s=(2, 1), p=3, d=4, og=2, mask="sigmoid")
    case("deform_v1_1x1", (2, 5, 4, 5), 3, 1, og=1)
    case("deform_v2_1x1_s2_og5", (1, 5, 5, 6), 3, 1, s=2, og=5, mask="sigmoid")
    case("deform_v2_1x1_image", (1, 3, 1, 1), 2, 1, og=1, offsets="half", mask="sigmoid")
    case("deform_v1_3x3_on_1x1_image", (2, 3, 1, 1), 4, 3, p=1, og=1)
    case("deform_v2_1x5", (1, 2, 4, 8), 3, (1, 5), p=(0, 2), og=1, mask="sigmoid")
    case("deform_v1_5x1_d2", (1, 2, 9, 4), 3, (5, 1), p=(4, 0), d=(2, 1), og=2)
    case("deform_v2_2x3", (1, 3, 5, 6), 2, (2, 3), p=1, og=1, mask="normal")
    case("deform_v1_7x7", (1, 1, 5, 5), 2, 7, p=3, og=1)
    case("deform_v1_kernel_is_image", (2, 3, 4, 3), 2, (4, 3), og=1)
    case("deform_v2_kernel_is_padded_image", (1, 3, 3, 4), 2, (5, 6), p=1, og=1, mask="sigmoid")
    case("deform_v1_c1_k1_nobias", (1, 1, 6, 6), 1, 3, p=1, og=1, bias=False)
    case("deform_v2_c17_k7", (1, 17, 4, 4), 7, 3, p=1, og=1, mask="sigmoid")
    case("deform_v1_c7_k33_nobias", (1, 7, 4, 3), 33, 3, p=1, og=1, bias=False)
    case("deform_v2_c33_k5_og3", (1, 33, 4, 3), 5, 3, p=1, og=3, mask="sigmoid")

    # Padding that differs on every side (see expected() on how torchvision is made to do it).
    case("deform_v1_asym", (1, 3, 5, 6), 2, 3, p=(0, 1, 2, 3), og=1)
    case("deform_v2_asym_d2_s2", (1, 3, 8, 7), 2, 3, s=2, p=(1, 3, 2, 0), d=2, og=1, mask="sigmoid")
    case("deform_v1_asym_edge", (1, 2, 5, 5), 2, 3, p=(2, 0, 0, 1), og=1, offsets="edge")
    case("deform_v2_asym_oob_g2_og2", (1, 4, 4, 5), 2, (2, 3), p=(0, 2, 1, 0), g=2, og=2, offsets="oob", mask="sigmoid")

    # Masks that aren't a sigmoid's, and what there is besides.
    case("deform_v2_mask_zero", (1, 2, 4, 5), 3, 3, p=1, og=1, mask="zero")
    case("deform_v2_mask_holes_og2", (1, 4, 4, 5), 3, 3, p=1, og=2, mask="holes")
    case("deform_v2_mask_negative", (1, 3, 4, 5), 2, 3, p=1, og=1, mask="normal", bias=False)
    case("deform_v2_wide_range", (1, 5, 5, 5), 2, 3, p=1, og=1, mask="sigmoid", values="wide")
    case("deform_v1_cancel", (1, 8, 4, 4), 2, 3, p=1, og=1, values="cancel", bias=False)
    case("deform_v2_batch5", (5, 3, 4, 4), 2, 3, p=1, og=1, mask="sigmoid")
    case("deform_v1_batch0", (0, 3, 5, 5), 2, 3, p=1, og=1)

    # torchvision's own test configuration (TestDeformConv.get_fn_args), batch 33 and 0.
    tv = dict(s=(2, 1), p=(1, 0), d=(2, 1), g=2, og=3)
    case("deform_tv_v2_batch33", (33, 6, 5, 4), 2, (3, 2), mask="sigmoid", **tv)
    case("deform_tv_v1_batch33", (33, 6, 5, 4), 2, (3, 2), grad=False, **tv)
    case("deform_tv_v2_batch0", (0, 6, 5, 4), 2, (3, 2), mask="sigmoid", **tv)
    case("deform_tv_v1_batch0", (0, 6, 5, 4), 2, (3, 2), bias=False, **tv)
    case("deform_tv_v2_batch1_nobias", (1, 6, 5, 4), 2, (3, 2), mask="sigmoid", bias=False, **tv)


# ---------------------------------------------------------------------------------------------------------------
# Inputs
# ---------------------------------------------------------------------------------------------------------------

def draw(rng, shape, values, role):
    v = rng.standard_normal(shape)
    if values == "wide":  # twelve decades beside each other
        v *= 10.0 ** rng.uniform(-6, 6, shape)
    elif values == "cancel":  # products come in pairs that nearly annul each other, over the channels
        half = shape[1] // 2
        v[:, half:] = v[:, :half] * ((1 + 1e-5 * rng.standard_normal(v[:, half:].shape)) if role == "x" else -1)
    elif values == "zeroweight" and role == "weight":
        v = np.zeros(shape)
    return v.astype(np.float32)


def base_positions(c, ho, wo):
    """Where each kernel point samples before it is displaced: [R*S, Ho, Wo] rows and columns, in image pixels."""
    r, s = c["kernel"]
    y = (np.arange(ho) * c["s"][0] - c["p"][0])[None, :, None] + (np.arange(r * s) // s * c["d"][0])[:, None, None]
    x = (np.arange(wo) * c["s"][1] - c["p"][1])[None, None, :] + (np.arange(r * s) % s * c["d"][1])[:, None, None]
    return np.broadcast_to(y, (r * s, ho, wo)), np.broadcast_to(x, (r * s, ho, wo))


def draw_offsets(rng, c, ho, wo):
    """Offsets [N, 2*og*R*S, Ho, Wo], Δy before Δx. Kinds:

    zero   a plain convolution        gauss  standard deviation 1.5     half  odd multiples of a half
    whole  integers: the sample is a pixel, and the slope is torchvision's choice (the cell below and right of it)
    edge   positions at and beside −1, 0, H−1 and H, exactly            oob   most samples outside, some by 10^6
    tiny   a whole pixel plus or minus a power of two far below it: the fraction rounds to 0 or to 1 in float32,
           the whole part must not; exact in float64, so the cell is not in doubt
    """
    n, h, w = c["x"][0], c["x"][2], c["x"][3]
    shape = (n, c["og"], c["kernel"][0] * c["kernel"][1], 2, ho, wo)
    kind = c["offsets"]
    if kind == "zero":
        o = np.zeros(shape)
    elif kind == "gauss":
        o = 1.5 * rng.standard_normal(shape)
    elif kind == "half":
        o = rng.integers(-3, 3, shape) + 0.5
    elif kind == "whole":
        o = rng.integers(-2, 3, shape).astype(float)
    elif kind == "tiny":
        o = rng.integers(-1, 2, shape) + rng.choice([-1.0, 1.0], shape) * 2.0 ** -rng.integers(12, 41, shape)
        # A sum of a whole number and 2^-40 is no float32; keep what float32 can hold, exactly.
        o = o.astype(np.float32).astype(float)
    elif kind == "edge":
        by, bx = base_positions(c, ho, wo)
        o = np.empty(shape)
        for axis, (base, size) in enumerate(((by, h), (bx, w))):
            targets = np.array([-1, -1 + 2.0 ** -12, -1 - 2.0 ** -12, -0.5, 0, size - 1, size - 0.5, size - 2.0 ** -12,
                                size, size + 2.0 ** -12])
            picked = rng.choice(targets, shape[:3] + shape[4:])
            o[:, :, :, axis] = picked - base
    elif kind == "oob":
        o = rng.uniform(-2.0, 2.0, shape) * max(h, w)
        far = rng.random(shape) < 0.1
        o = np.where(far, rng.choice([-1e6, -1000.25, 1000.75, 1e6], shape), o)
    else:
        raise ValueError(kind)
    f32 = o.astype(np.float32)
    if kind in ("edge", "tiny", "whole", "half"):
        assert (f32 == o).all(), "an offset that has to be exact is not"
    return f32.reshape(n, 2 * c["og"] * shape[2], ho, wo)


def draw_mask(rng, shape, kind):
    v = rng.standard_normal(shape)
    if kind == "sigmoid":
        v = 1 / (1 + np.exp(-v))
    elif kind == "zero":
        v[...] = 0
    elif kind == "holes":
        v = np.where(rng.random(shape) < 0.5, 0, 1)
    else:
        assert kind == "normal", kind
    return v.astype(np.float32)


def inputs(name, c):
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    n, ch, h, w = c["x"]
    (r, s), k = c["kernel"], c["k"]
    ho = (h + c["p"][0] + c["p"][2] - c["d"][0] * (r - 1) - 1) // c["s"][0] + 1
    wo = (w + c["p"][1] + c["p"][3] - c["d"][1] * (s - 1) - 1) // c["s"][1] + 1
    a = {"x": draw(rng, c["x"], c["values"], "x"), "weight": draw(rng, (k, ch // c["g"], r, s), c["values"], "weight")}
    if c["bias"]:
        a["bias"] = rng.standard_normal(k).astype(np.float32)
    if c["og"]:
        a["offset"] = draw_offsets(rng, c, ho, wo)
        if c["mask"]:
            a["mask"] = draw_mask(rng, (n, c["og"] * r * s, ho, wo), c["mask"])
    if c["grad"]:
        a["dy"] = rng.standard_normal((n, k, ho, wo)).astype(np.float32)
    return a


# ---------------------------------------------------------------------------------------------------------------
# Expected results: PyTorch, in float64
# ---------------------------------------------------------------------------------------------------------------

def torch_forward(c, t):
    top, left, bottom, right = c["p"]
    x, symmetric = t["x"], (top, left) == (bottom, right)
    if c["og"]:
        # torchvision pads the same amount on both sides only. Where the sides differ, x is padded with zeros
        # beforehand and the operator gets none. That changes nothing: a sample blends its four neighbours, those
        # outside count 0, and a padded zero counts 0 as well; past the padding all four are outside, before and after.
        # The slope at exactly −1 is the same too, because torchvision's gradient looks at the neighbours, not at the
        # border test. check_asymmetric() holds both ways of asking against each other.
        padding = (top, left)
        if not symmetric:
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        return deform_conv2d(x, t["offset"], t["weight"], t.get("bias"), stride=c["s"], padding=padding,
                             dilation=c["d"], mask=t.get("mask"))
    padding = (top, left)
    if c["mode"] != "zeros" or not symmetric:
        x, padding = F.pad(x, (left, right, top, bottom), mode=TORCH_MODE[c["mode"]]), (0, 0)
    return F.conv2d(x, t["weight"], t.get("bias"), stride=c["s"], padding=padding, dilation=c["d"], groups=c["g"])


def expected(c, a, forward=torch_forward):
    t = {k: torch.from_numpy(v.astype(np.float64)) for k, v in a.items()}
    dy = t.pop("dy", None)
    for v in t.values():
        v.requires_grad_(dy is not None)
    y = forward(c, t)
    out = {"y": y.detach().numpy()}
    if dy is not None:
        y.backward(dy)
        out |= {"d" + k: v.grad.numpy() for k, v in t.items()}
    return out


def check_asymmetric():
    """Padding x beforehand and letting torchvision pad must agree, slopes at the border included."""
    c = CASES["deform_v1_edge"]
    a = inputs("deform_v1_edge", c)
    top, left, bottom, right = c["p"]

    def padded(c, t):
        return deform_conv2d(F.pad(t["x"], (left, right, top, bottom)), t["offset"], t["weight"], t["bias"],
                             stride=c["s"], dilation=c["d"])

    native, ours = expected(c, a), expected(c, a, padded)
    for k in native:
        np.testing.assert_allclose(ours[k], native[k], rtol=1e-12, atol=1e-12, err_msg=k)


# ---------------------------------------------------------------------------------------------------------------
# The second opinion: the formula, in NumPy
# ---------------------------------------------------------------------------------------------------------------

def sample(x, y0, x0):
    """x [N, C, H, W] at positions [N, Ho, Wo]: each of the four neighbours counts if it lies inside."""
    n, _, h, w = x.shape
    out = np.zeros((n, x.shape[1]) + y0.shape[1:])
    fy, fx = np.floor(y0), np.floor(x0)
    for dy in (0, 1):
        for dx in (0, 1):
            yy, xx = (fy + dy).astype(np.int64), (fx + dx).astype(np.int64)
            weight = (1 - np.abs(y0 - yy)) * (1 - np.abs(x0 - xx))
            inside = (yy >= 0) & (yy < h) & (xx >= 0) & (xx < w)
            v = x[np.arange(n)[:, None, None], :, yy.clip(0, h - 1), xx.clip(0, w - 1)]  # [N, Ho, Wo, C]
            out += np.moveaxis(v * (weight * inside)[..., None], 3, 1)
    return out


def formula(c, a):
    x, weight = a["x"].astype(np.float64), a["weight"].astype(np.float64)
    n, ch, h, w = x.shape
    (r, s), k, g, og = c["kernel"], c["k"], c["g"], c["og"]
    top, left, bottom, right = c["p"]
    ho = (h + top + bottom - c["d"][0] * (r - 1) - 1) // c["s"][0] + 1
    wo = (w + left + right - c["d"][1] * (s - 1) - 1) // c["s"][1] + 1
    if og:
        by, bx = base_positions(c, ho, wo)
    elif n:
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode=NUMPY_MODE[c["mode"]])
    y = np.zeros((n, k, ho, wo))
    for i in range(r * s if n else 0):
        if og:
            tap = np.empty((n, ch, ho, wo))
            for q in range(og):
                o = q * r * s + i
                chans = slice(q * ch // og, (q + 1) * ch // og)
                tap[:, chans] = sample(x[:, chans], by[i] + a["offset"][:, 2 * o].astype(np.float64),
                                       bx[i] + a["offset"][:, 2 * o + 1].astype(np.float64))
                if "mask" in a:
                    tap[:, chans] *= a["mask"][:, o, None].astype(np.float64)
        else:
            y0, x0 = i // s * c["d"][0], i % s * c["d"][1]
            tap = x[:, :, y0:y0 + (ho - 1) * c["s"][0] + 1:c["s"][0], x0:x0 + (wo - 1) * c["s"][1] + 1:c["s"][1]]
        for j in range(g):
            ks, cs = slice(j * k // g, (j + 1) * k // g), slice(j * ch // g, (j + 1) * ch // g)
            y[:, ks] += np.einsum("kc,nchw->nkhw", weight[ks, :, i // s, i % s], tap[:, cs])
    if "bias" in a:
        y += a["bias"].astype(np.float64)[None, :, None, None]
    return y


def check(name, c, a, want):
    scale = np.abs(formula(c, {k: np.abs(v) if k != "offset" else v for k, v in a.items()})) + 1e-300
    off = np.abs(formula(c, a) - want["y"]) / scale
    assert off.size == 0 or off.max() < 1e-13, f"{name}: y is not the formula's, off by {off.max():.3g}"
    if "dy" not in a:
        return
    rng, dy = np.random.default_rng(0), a["dy"].astype(np.float64)
    for k in ("x", "weight", "bias", "mask", "offset"):
        if k not in a:
            continue
        v = rng.standard_normal(a[k].shape)
        if k == "offset":
            if c["offsets"] != "gauss" or c["values"] == "wide":
                continue  # no slope to difference on a pixel's border
            e, o = 1e-7, a["offset"].astype(np.float64)
            diff = (formula(c, a | {"offset": o + e * v}) - formula(c, a | {"offset": o - e * v})) / (2 * e)
            tolerance = 1e-5
        else:
            without = {j: u for j, u in a.items() if j not in ("bias", k)}
            diff = np.broadcast_to(v[None, :, None, None], dy.shape) if k == "bias" else formula(c, without | {k: v})
            tolerance = 1e-12
        got, ref = np.sum(want["d" + k] * v), np.sum(dy * diff)
        size = np.sum(np.abs(want["d" + k] * v)) + np.sum(np.abs(dy * diff)) + 1e-300
        assert abs(got - ref) <= tolerance * size, f"{name}: d{k}: <d{k}, v> = {got}, differences say {ref}"


def save(path, c, a, want):
    arrays = dict(a)
    for k, v in (("stride", c["s"]), ("padding", c["p"]), ("dilation", c["d"]), ("groups", (c["g"],))):
        arrays[k] = np.array(v, dtype=np.int64)
    arrays["padding_mode"] = np.frombuffer(c["mode"].encode(), dtype=np.uint8)
    arrays |= want
    arrays = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    for k, v in arrays.items():
        assert np.isfinite(v).all(), f"{path}: {k} is not finite"
    np.savez_compressed(path, **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the order of a sum may depend on it
    conv_cases()
    torch_sample_cases()
    deform_cases()
    check_asymmetric()
    os.makedirs(args.o, exist_ok=True)
    total = 0
    for name in args.names or CASES:
        c = CASES[name]
        a = inputs(name, c)
        want = expected(c, a)
        check(name, c, a, want)
        path = os.path.join(args.o, name + ".npz")
        save(path, c, a, want)
        size = os.path.getsize(path)
        total += size
        print(f"{name:36} {size:7}  {'y ' + str(want['y'].shape):20} {' '.join(k for k in want if k != 'y')}")
    with_grad = sum(CASES[n]["grad"] for n in args.names or CASES)
    print(f"{len(args.names or CASES)} cases, {with_grad} with gradients, {total / 2**20:.2f} MiB;"
          f" torch {torch.__version__}, torchvision {torchvision.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
