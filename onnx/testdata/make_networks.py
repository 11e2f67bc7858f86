"""Makes small networks of several nodes with ONNX's own helpers, as directories like the backend tests', and computes
their outputs by ONNX's reference evaluator:

    pip install onnx==1.23.2 && python3 make_networks.py

networks/external has its weights in a file beside the model, every other one inside.
"""
import os
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks")
shutil.rmtree(here, ignore_errors=True)
random = np.random.default_rng(7)


def normal(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


class Net:
    def __init__(self, opset=19):
        self.nodes, self.weights, self.inputs, self.opset = [], [], [], opset

    def feed(self, name, *shape):
        self.inputs.append((name, shape))
        return name

    def const(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op, *inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [i if isinstance(i, str) else self.const(i) for i in inputs], [name], name=name, **attributes))
        return name

    def conv(self, x, k, c, size=3, groups=1, bias=True, **attributes):
        parts = [x, normal(k, c // groups, size, size, scale=(c // groups * size * size) ** -0.5)] + ([normal(k)] if bias else [])
        return self.add("Conv", *parts, group=groups, **attributes)

    def norm(self, x, c, **attributes):
        return self.add("BatchNormalization", x, normal(c), normal(c), normal(c), np.abs(normal(c)) + np.float32(0.1), **attributes)

    def write(self, name, *outputs, batch=None, external=False):
        value = lambda n, s: helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        graph = helper.make_graph(self.nodes, name, [value(n, ("batch",) + s[1:] if batch else s) for n, s in self.inputs],
                                  [value(n, None) for n in outputs], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9, producer_name="make_networks.py")
        folder = os.path.join(here, name, "test_data_set_0")
        os.makedirs(folder)
        data = {n: normal(*s) for n, s in self.inputs}
        answers = ReferenceEvaluator(model).run(list(outputs), data)
        for kind, arrays in ("input", data.items()), ("output", zip(outputs, answers)):
            for i, (n, a) in enumerate(arrays):
                with open(f"{folder}/{kind}_{i}.pb", "wb") as f:
                    f.write(numpy_helper.from_array(a, n).SerializeToString(deterministic=True))
        path = os.path.join(here, name, "model.onnx")
        if external:
            onnx.save(model, path, save_as_external_data=True, location="weights/data.bin" if os.makedirs(os.path.join(here, name, "weights")) is None else "",
                      size_threshold=0)
        else:
            onnx.save(model, path)


# A residual block: two branches of Conv, BatchNormalization and Relu, summed.
n = Net()
x = n.feed("x", 2, 6, 9, 7)
a = n.add("Relu", n.norm(n.conv(x, 8, 6, bias=False, pads=[1] * 4, strides=[2, 2]), 8))
b = n.norm(n.conv(a, 8, 8, bias=False, pads=[2] * 4, dilations=[2, 2]), 8)
s = n.norm(n.conv(x, 8, 6, size=1, bias=False, strides=[2, 2]), 8)
n.write("residual", n.add("Relu", n.add("Add", b, s)), batch=True)

# DeepLab's pyramid: dilated branches and a pooled one, concatenated and projected.
n = Net()
x = n.feed("x", 1, 8, 11, 13)
branches = [n.add("Relu", n.norm(n.conv(x, 5, 8, size=1, bias=False), 5))]
for rate in 2, 4, 6:
    branches.append(n.add("Relu", n.norm(n.conv(x, 5, 8, bias=False, pads=[rate] * 4, dilations=[rate] * 2), 5)))
pooled = n.add("Relu", n.conv(n.add("GlobalAveragePool", x), 5, 8, size=1))
branches.append(n.add("Resize", pooled, np.array([], np.float32), np.array([], np.float32), np.array([1, 5, 11, 13], np.int64),
                      mode="linear", coordinate_transformation_mode="half_pixel"))
y = n.conv(n.add("Concat", *branches, axis=1), 4, 25, size=1)
n.write("aspp", n.add("Resize", y, np.array([], np.float32), np.array([1, 1, 4, 4], np.float32), mode="linear",
                      coordinate_transformation_mode="pytorch_half_pixel"))

# A modulated deformable layer that predicts its own offsets and mask.
n = Net()
x = n.feed("x", 2, 4, 8, 6)
offset = n.conv(x, 36, 4, pads=[1] * 4)
mask = n.add("Sigmoid", n.conv(x, 18, 4, pads=[1] * 4))
y = n.add("DeformConv", x, normal(6, 2, 3, 3, scale=0.3), offset, normal(6), mask, offset_group=2, group=2, pads=[1] * 4, kernel_shape=[3, 3])
n.write("deform", n.add("Clip", n.norm(y, 6), np.float32(-1), np.float32(1.5)))

# Parts of a concatenation that cannot be written in place: an input, a transposed
# convolution's output, one value twice, a concatenation, and an output of the model.
n = Net()
x = n.feed("x", 1, 4, 5, 6)
t = n.add("ConvTranspose", n.conv(x, 3, 4, strides=[2, 2], pads=[1] * 4), normal(3, 2, 2, 2), normal(2), strides=[2, 2], output_padding=[0, 0], pads=[0, 0, 1, 0])
c = n.conv(x, 3, 4, pads=[1] * 4)
inner = n.add("Concat", c, n.add("LeakyRelu", x, alpha=0.25), axis=1)
kept = n.conv(x, 2, 4, size=1)
joined = n.add("Concat", x, t, c, inner, kept, axis=1)
n.write("concat", n.conv(joined, 3, 18), kept, joined)

# A small classifier with its weights in a file of their own.
n = Net()
x = n.feed("x", 3, 3, 10, 10)
y = n.add("Relu", n.conv(x, 6, 3, strides=[2, 2]))
y = n.add("Mul", n.add("Add", n.conv(y, 6, 6, groups=6), normal(1, 6, 1, 1)), normal(6, 1, 1))
y = n.add("Flatten", n.add("GlobalAveragePool", y))
n.write("external", n.add("Gemm", y, normal(5, 6), normal(5), transB=1, alpha=0.5), batch=True, external=True)

# What PyTorch exports of a classifier's end, in two spellings, and of flattened images.
n = Net()
x = n.feed("x", 2, 5, 6, 4)
y = n.conv(x, 4, 5, pads=[1] * 4)
m = n.add("ReduceMean", y, np.array([-1, -2], np.int64), keepdims=1)
f = n.add("Reshape", m, np.array([2, -1], np.int64), allowzero=1)
k = n.add("ReduceMean", y, np.array([2, 3], np.int64), keepdims=0)
g = n.add("Gemm", n.add("Concat", f, k, axis=1), normal(3, 8), normal(3), transB=1)
n.write("mean", g, n.add("Gemm", n.add("Flatten", y), normal(6 * 4 * 4, 2)))

# Offsets and mask cut from one layer's channels, as PyTorch exports them; a cut of a cut, of a part of a
# concatenation, and one that is an output.
n = Net()
cut = lambda v, a, b: n.add("Slice", v, np.array([a], np.int64), np.array([b], np.int64), np.array([1], np.int64), np.array([1], np.int64))
x = n.feed("x", 2, 4, 7, 6)
p = n.conv(x, 27, 4, pads=[1] * 4)
y = n.add("DeformConv", x, normal(6, 4, 3, 3, scale=0.3), cut(p, 0, 18), normal(6), n.add("Sigmoid", cut(p, 18, 2**62)), pads=[1] * 4)
c = n.add("Concat", y, n.conv(x, 4, 4, size=1), axis=1)
n.write("slice", cut(c, 5, -1), n.add("Add", cut(cut(y, 1, 6), 2, 5), cut(c, 7, 10)), n.conv(c, 2, 10))

# Values that are read again after layers of the same shape.
n = Net()
x = n.feed("x", 1, 5, 6, 7)
y = n.add("Relu", n.conv(x, 5, 5, pads=[1] * 4))
for _ in range(2):
    z = n.add("Relu", n.norm(n.conv(y, 5, 5, pads=[1] * 4, bias=False), 5))
    y = n.add("Relu", n.add("Add", n.conv(z, 5, 5, pads=[1] * 4), y))
n.write("identity", n.conv(n.add("Add", y, z), 2, 5, size=1))

# Nearest pixels by whole factors, in the spellings that come to that.
n = Net()
x = n.feed("x", 1, 2, 6, 8)
none = np.array([], np.float32)
scale = lambda v, f, **a: n.add("Resize", v, none, np.array([1, 1, f, f], np.float32), mode="nearest", **a)
n.write("nearest", scale(x, 2, coordinate_transformation_mode="asymmetric", nearest_mode="round_prefer_floor"),
        scale(x, 3, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        scale(x, 4, coordinate_transformation_mode="half_pixel", nearest_mode="round_prefer_ceil"),
        scale(x, 0.5, coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
