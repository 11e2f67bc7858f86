"""Writes the same network as an ONNX model, with PyTorch's answer beside it as ONNX's backend tests have it."""
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

weights = load_file("weights.safetensors")
weights["offset.weight"], weights["mask.weight"] = np.split(weights["predict.weight"], [18])
weights["offset.bias"], weights["mask.bias"] = np.split(weights.pop("predict.bias"), [18])
del weights["predict.weight"]


def layer(op, name, *inputs, pads=1, **attributes):
    return helper.make_node(op, [inputs[0], name + ".weight", *inputs[1:]], [name], name=name, pads=[pads] * 4, **attributes)


nodes = [
    layer("Conv", "stem", "x", "stem.bias", strides=[2, 2]),
    helper.make_node("Relu", ["stem"], ["features"]),
    layer("Conv", "offset", "features", "offset.bias"),
    layer("Conv", "mask", "features", "mask.bias"),
    helper.make_node("Sigmoid", ["mask"], ["modulation"]),
    layer("DeformConv", "deform", "features", "offset", "deform.bias", "modulation"),
    helper.make_node("Relu", ["deform"], ["deformed"]),
    layer("Conv", "head", "deformed", "head.bias", pads=0),
]
value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
graph = helper.make_graph(nodes, "net", [value("x", ["batch", 3, "rows", "columns"])], [value("head", None)],
                          [numpy_helper.from_array(v, k) for k, v in sorted(weights.items())])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)  # 19 has DeformConv
answer = load_file("answer.safetensors")
os.makedirs("onnx/test_data_set_0", exist_ok=True)
onnx.save(model, "onnx/model.onnx")
onnx.save_tensor(numpy_helper.from_array(answer["x"], "x"), "onnx/test_data_set_0/input_0.pb")
onnx.save_tensor(numpy_helper.from_array(answer["y"], "head"), "onnx/test_data_set_0/output_0.pb")
np.save("x.npy", answer["x"])
