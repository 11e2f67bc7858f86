"""Writes the ONNX project's backend tests of the operators that are here, as its own directories:

    pip install onnx==1.23.2 && python3 make_backend.py [DIRECTORY [all]]

node/ holds those of single nodes, pytorch/ those converted from PyTorch. Without "all" of others
than convolutions only those are written that are smaller than 16 KiB, without DIRECTORY beside this script. The data is
the ONNX project's (Apache License 2.0, https://github.com/onnx/onnx/blob/main/LICENSE).
"""
import os
import shutil
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.loader import load_model_tests

warnings.simplefilter("ignore")
here = os.path.dirname(os.path.abspath(__file__))
out = sys.argv[1] if len(sys.argv) > 1 else here
everything = sys.argv[2:] == ["all"]
largest = 1 << 30 if everything else 16 << 10
convolutions = {"Conv", "ConvTranspose", "DeformConv"}
others = {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Gelu", "Add", "Mul", "Concat", "BatchNormalization", "GlobalAveragePool",
          "GlobalMaxPool", "Resize", "Upsample", "MaxPool", "AveragePool", "Identity", "Constant", "Flatten", "Gemm", "Dropout",
          "Reshape", "Squeeze", "Unsqueeze"}
# One of several that differ only in their numbers, or that ask for what is not here.
left_out = ("_3d", "3d_", "int8", "int16", "uint", "cubic", "antialias", "crop", "training", "_expanded", "not_larger", "not_smaller",
            "reshape_", "squeeze", "flatten_negative", "dropout_", "identity_", "negative", "gelu_tanh", "argmax", "transposeA",
            "all_attributes", "matrix_bias", "half_pixel_symmetric", "concat_1d", "concat_2d_axis_0", "concat_3d_axis_0", "concat_3d_axis_2")


def size(folder):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(folder) for f in files)


def wanted(model, name):
    ops = {n.op_type for n in model.graph.node}
    if not ops <= convolutions | others:
        return False
    return everything or ops <= convolutions or not any(part in name for part in left_out)


def node_cases():
    for case in load_model_tests(kind="node"):
        if not wanted(case.model, case.name):
            continue
        folder = os.path.join(out, "node", case.name)
        try:
            for i, (inputs, outputs) in enumerate(case.data_sets):
                into = os.path.join(folder, f"test_data_set_{i}")
                os.makedirs(into, exist_ok=True)
                for kind, arrays, values in ("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output):
                    for j, a in enumerate(arrays):
                        t = a if isinstance(a, TensorProto) else numpy_helper.from_array(np.asarray(a), values[j].name)
                        with open(f"{into}/{kind}_{j}.pb", "wb") as f:
                            f.write(t.SerializeToString(deterministic=True))
        except (TypeError, ValueError, AttributeError):  # sequences and what may be absent
            shutil.rmtree(folder)
            continue
        with open(folder + "/model.onnx", "wb") as f:
            f.write(case.model.SerializeToString(deterministic=True))
        if size(folder) > largest and "conv" not in case.name:
            shutil.rmtree(folder)


def pytorch_cases():
    data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    for kind in "pytorch-converted", "pytorch-operator":
        for name in sorted(os.listdir(os.path.join(data, kind))):
            source = os.path.join(data, kind, name)
            model = os.path.join(source, "model.onnx")
            if not os.path.exists(model) or size(source) > largest and "Conv" not in name:
                continue
            if wanted(onnx.load(model), name):
                shutil.copytree(source, os.path.join(out, "pytorch", name), dirs_exist_ok=True)


node_cases()
pytorch_cases()
