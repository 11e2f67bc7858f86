#!/usr/bin/env python3
"""Train a small network with a deformable layer by PyTorch, for the library to do the same.

    python3 make_training.py [-o DIR]     (default: beside this file; needs torch and torchvision)

One file an optimizer: the weights at first by their names, `images` and `classes` of the batches (they come in turns), `rate`,
`loss`, the loss of each of 200 steps in float64, and `rounding`: how far float32 is from that at most, over 12 runs whose
first weights are moved by at most a unit in the last place at random and which differ in how PyTorch computes. So far do
roundings carry; another correct float32 computation is to be no further off than a few times that.
"""

import argparse
import os

import numpy as np
import torch
from torch import nn
from torchvision.ops import deform_conv2d

STEPS = 200


class Pack(nn.Module):
    """mmcv's DeformConv2dPack."""

    def __init__(self, c, k):
        super().__init__()
        conv = nn.Conv2d(c, k, 3)
        self.weight, self.bias = conv.weight, conv.bias
        self.conv_offset = nn.Conv2d(c, 18, 3, padding=1)
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)

    def forward(self, x):
        return deform_conv2d(x, self.conv_offset(x), self.weight, self.bias, padding=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.dcn = Pack(6, 8)
        self.bn2 = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 2)
        x = torch.relu(self.bn2(self.dcn(x)))
        x = torch.nn.functional.avg_pool2d(x, 3, 2, 1)
        return self.fc(x.mean((2, 3)))


def train(weights, images, classes, optimizer, dtype):
    net = Net().to(dtype)
    net.load_state_dict({k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()})
    step = optimizer(net.parameters())
    losses = []
    for i in range(STEPS):
        x, t = images[i % len(images)], classes[i % len(images)]
        loss = nn.functional.cross_entropy(net(torch.tensor(x, dtype=dtype)), torch.tensor(t))
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return np.array(losses), net


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", default=os.path.dirname(os.path.abspath(__file__)))
    folder = parser.parse_args().o
    torch.manual_seed(11)
    torch.set_num_threads(1)
    rng = np.random.default_rng(11)
    images = rng.standard_normal((4, 6, 2, 10, 12)).astype(np.float32)
    classes = rng.integers(0, 3, (4, 6))
    for i in np.ndindex(4, 6):  # something to learn
        images[i][0, :, 4 * classes[i]:4 * classes[i] + 4] += 0.7
    first = {k: v.clone() for k, v in Net().state_dict().items()}
    for name, rate, optimizer in [("sgd", 0.05, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4)),
                                  ("adam", 0.005, lambda p: torch.optim.Adam(p, lr=0.005))]:
        want, net = train(first, images, classes, optimizer, torch.float64)
        rounding = np.zeros(STEPS)
        for run in range(12):
            moved = {}
            for k, v in first.items():
                # Not the zeros: from a whole pixel, where samples have a kink, the least step decides which way an offset goes.
                ulp = torch.tensor(np.spacing(np.abs(v.numpy())) * (v.numpy() != 0) if v.is_floating_point() else 0)
                moved[k] = v + ulp * torch.randint(-1, 2, v.shape) if run > 1 and v.is_floating_point() else v
            with torch.backends.mkldnn.flags(enabled=run % 2 == 0):
                got, _ = train(moved, images, classes, optimizer, torch.float32)
            rounding = np.maximum(rounding, np.abs(got - want))
        arrays = {k: v.numpy() for k, v in first.items()}
        np.savez_compressed(os.path.join(folder, name + ".npz"), images=images, classes=classes.astype(np.int64), rate=np.array([rate]),
                            loss=want, rounding=rounding, **arrays)
        print(name, "loss", want[0], want[49], want[-1], "rounding", rounding[:50].max(), rounding.max(),
              "offset weights", net.dcn.conv_offset.weight.abs().max().item())


if __name__ == "__main__":
    main()
