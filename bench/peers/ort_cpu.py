#!/usr/bin/env python3
"""Times single layers of ONNX Runtime on the CPU (PyPI: onnxruntime, onnx) for bench/peers, see line_peer.py.

    python3 ort_cpu.py --lines --threads 2

Conv and, in a version whose CPU provider has it, DeformConv of opset 19; inputs and outputs are bound beforehand.
"""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from line_peer import median_ms, model, serve, threads_wanted

threads = threads_wanted()


def session(c):
    n, k, r, s, groups = c["n"], c["k"], c["r"], c["s"], c["groups"]
    reach = [c["dilation"] * (c[d] - 1) + 1 for d in ("r", "s")]
    ho, wo = ((c[d] + 2 * c["pad"] - m) // c["stride"] + 1 for d, m in zip(("h", "w"), reach))
    random = np.random.default_rng(1)

    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    feeds = {"x": normal(n, c["c"], c["h"], c["w"])}
    weight = helper.make_tensor("w", TensorProto.FLOAT, (k, c["c"] // groups, r, s), normal(k, c["c"] // groups, r, s).tobytes(), raw=True)
    names = ["x", "w"]
    kind, attributes = "Conv", {}
    if c["og"]:
        kind, attributes = "DeformConv", {"offset_group": c["og"]}
        feeds["offset"] = normal(n, 2 * c["og"] * r * s, ho, wo)
        names.append("offset")
        if c["mask"]:
            feeds["mask"] = random.random((n, c["og"] * r * s, ho, wo), dtype=np.float32)
            names += ["", "mask"]
    node = helper.make_node(kind, names, ["y"], kernel_shape=[r, s], pads=[c["pad"]] * 4, strides=[c["stride"]] * 2,
                            dilations=[c["dilation"]] * 2, group=groups, **attributes)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in feeds.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, (n, k, ho, wo))
    graph = helper.make_graph([node], "layer", inputs, [output], [weight])
    opset = helper.make_opsetid("", 19)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.checker.check_model(proto)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    run = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    bound = run.io_binding()
    for name, a in feeds.items():
        bound.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(a))
    bound.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_shape_and_type((n, k, ho, wo), np.float32))
    return lambda: run.run_with_iobinding(bound)


def answer(c):
    try:
        call = session(c)
    except Exception as e:  # its errors have no class of their own
        if "NOT_IMPLEMENTED" in str(e) or "Could not find an implementation" in str(e):
            return None
        raise
    return {"median_ms": median_ms(call, c["seconds"])}


serve(f"ONNX Runtime {ort.__version__}; {model()}", answer)
