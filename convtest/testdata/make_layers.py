#!/usr/bin/env python3
"""Compute activations, poolings over windows and batch normalization, forward and backward, by PyTorch in float64.

    python3 make_layers.py [-o DIR]     (default: layers/ beside this file; needs torch)

Inputs are float32, results float64. Every file holds `op` (ASCII), x, dy, y, dx, and

    activation   activation (ASCII, conv.Activation's name), slope, min, max (float32 [1])
    window_pool  kernel, stride, padding, dilation (int64 [2]), ceil, maximum, exclude (int64 [1])
    batch_norm   weight, bias, running_mean, running_var, eps, momentum (float32), dweight, dbias, new_mean, new_var, given (y in eval mode)
"""

import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F


def write(folder, name, op, **arrays):
    out = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
    out["op"] = np.frombuffer(op.encode(), dtype=np.uint8)
    np.savez_compressed(os.path.join(folder, name + ".npz"), **out)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def double(a):
    return torch.tensor(a.astype(np.float64))


def differentiate(f, x, dy):
    t = double(x).requires_grad_()
    y = f(t)
    y.backward(double(dy))
    return dict(x=x, dy=dy, y=y.detach().numpy(), dx=t.grad.numpy())


def activations(folder, rng):
    for name, f in [("relu", F.relu), ("relu6", F.relu6), ("leaky_relu", lambda t: F.leaky_relu(t, 0.125)), ("silu", F.silu),
                    ("gelu", F.gelu), ("sigmoid", torch.sigmoid), ("clamp", lambda t: torch.clamp(t, -1.5, 2.0))]:
        x = (3 * normal(rng, 1, 2, 5, 9))
        x.flat[:6] = [0, 6, -1.5, 2, 20, -20]
        one = lambda v: np.array([v], dtype=np.float32)
        write(folder, "act_" + name, "activation", activation=np.frombuffer(name.encode(), dtype=np.uint8), slope=one(0.125 if name == "leaky_relu" else 0),
              min=one(-1.5 if name == "clamp" else 0), max=one(2 if name == "clamp" else 0), **differentiate(f, x, normal(rng, *x.shape)))


def pools(folder, rng):
    for i, (hw, kernel, stride, padding, dilation, ceil) in enumerate([
            ((8, 8), (2, 2), (2, 2), (0, 0), (1, 1), 0), ((9, 7), (3, 3), (2, 2), (1, 1), (1, 1), 0), ((9, 7), (3, 3), (2, 2), (1, 1), (1, 1), 1),
            ((5, 5), (3, 2), (1, 3), (1, 0), (1, 1), 1), ((10, 11), (3, 3), (2, 1), (1, 1), (2, 3), 0), ((10, 11), (3, 3), (3, 2), (1, 1), (2, 3), 1),
            ((6, 6), (5, 5), (4, 4), (2, 2), (1, 1), 1), ((4, 4), (3, 3), (3, 3), (1, 1), (1, 1), 1), ((1, 1), (3, 3), (1, 1), (1, 1), (1, 1), 0)]):
        for kind in ("max", "mean", "mean_exclude"):
            if kind != "max" and dilation != (1, 1):
                continue
            x = rng.integers(-3, 4, (2, 2) + hw).astype(np.float32)  # equal ones
            if kind != "max":
                x = normal(rng, 2, 2, *hw)
            if kind == "max":
                f = lambda t: F.max_pool2d(t, kernel, stride, padding, dilation, bool(ceil))
            else:
                f = lambda t: F.avg_pool2d(t, kernel, stride, padding, bool(ceil), kind == "mean")
            dy = normal(rng, *f(double(x)).shape)
            pair = lambda *v: np.array(v, dtype=np.int64)
            write(folder, f"pool_{kind}_{i}", "window_pool", kernel=pair(*kernel), stride=pair(*stride), padding=pair(*padding), dilation=pair(*dilation),
                  ceil=pair(ceil), maximum=pair(kind == "max"), exclude=pair(kind == "mean_exclude"), **differentiate(f, x, dy))


def norms(folder, rng):
    for i, (shape, eps, momentum) in enumerate([((2, 3, 4, 5), 1e-5, 0.1), ((4, 2, 1, 1), 1e-3, 0.5), ((1, 5, 7, 3), 1e-5, 1.0)]):
        x, dy = 2 + normal(rng, *shape), normal(rng, *shape)
        weight, bias, mean, var = (normal(rng, shape[1]) for _ in range(4))
        var = np.abs(var) + np.float32(0.1)
        m, v, w, b = double(mean), double(var), double(weight).requires_grad_(), double(bias).requires_grad_()
        given = F.batch_norm(double(x), m, v, w, b, False, momentum, np.float32(eps)).detach().numpy()
        out = differentiate(lambda t: F.batch_norm(t, m, v, w, b, True, float(np.float32(momentum)), float(np.float32(eps))), x, dy)
        write(folder, f"norm_{i}", "batch_norm", weight=weight, bias=bias, running_mean=mean, running_var=var, eps=np.array([eps], dtype=np.float32),
              momentum=np.array([momentum], dtype=np.float32), dweight=w.grad.numpy(), dbias=b.grad.numpy(), new_mean=m.numpy(), new_var=v.numpy(),
              given=given, **out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "layers"))
    folder = parser.parse_args().o
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    rng = np.random.default_rng(8)
    activations(folder, rng)
    pools(folder, rng)
    norms(folder, rng)


if __name__ == "__main__":
    main()
