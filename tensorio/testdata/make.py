"""Makes small files in the formats' own libraries, for the readers here to read:

    pip install numpy safetensors ml_dtypes && python3 make.py

types.safetensors and types.npz (compressed) hold the values -2, -1.5, …, that all
floating-point types hold exactly, and the whole ones of them in the integer types.
"""
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

floats = np.arange(-4, 8).reshape(2, 3, 2) / 2
arrays = {
    "layer1.0.conv1.weight": floats.astype(np.float32),
    "layer1.0.bn1.running_mean": floats.astype(np.float64),
    "f16": floats.astype(np.float16),
    "i8": np.arange(-2, 4).astype(np.int8),
    "i16": np.arange(-2, 4).astype(np.int16),
    "i32": np.arange(-2, 4).astype(np.int32),
    "layer1.0.bn1.num_batches_tracked": np.array(7),
    "u8": np.arange(250, 256).astype(np.uint8),
    "u16": np.arange(65530, 65536).astype(np.uint16),
    "u32": np.arange(6).astype(np.uint32),
    "u64": np.arange(6).astype(np.uint64),
    "bool": np.array([True, False, True]),
    "empty": np.zeros((0, 3), np.float32),
}
np.savez_compressed("types.npz", **arrays)
save_file(arrays | {"bf16": floats.astype(ml_dtypes.bfloat16)}, "types.safetensors", metadata={"format": "np"})
