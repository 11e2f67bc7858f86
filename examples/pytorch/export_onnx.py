"""Exports the same network as an ONNX model, with PyTorch's answer beside it as ONNX's backend tests have it."""
import os

import numpy as np
import onnx
import torch
from export import net, x, y
from onnx import numpy_helper

os.makedirs("onnx/test_data_set_0", exist_ok=True)
torch.onnx.export(net.float(), (x,), "onnx/model.onnx", dynamo=True, external_data=False, input_names=["x"], output_names=["y"])
model = onnx.load("onnx/model.onnx")
for node in model.graph.node:  # where in the Python program it came from, most of the file
    del node.metadata_props[:]
    node.doc_string = ""
del model.graph.value_info[:]
onnx.save(model, "onnx/model.onnx")
onnx.save_tensor(numpy_helper.from_array(x.numpy(), "x"), "onnx/test_data_set_0/input_0.pb")
onnx.save_tensor(numpy_helper.from_array(y.numpy(), "y"), "onnx/test_data_set_0/output_0.pb")
np.save("x.npy", x.numpy())
