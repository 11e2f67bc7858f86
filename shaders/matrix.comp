#version 450
// Convolution on matrix units: the walk of implicit.glsl with the sums of
// matrix.glsl. Inputs are float32 in memory, of a layer of 16-bit tensors the
// widened ones, and made elements on their way to shared memory.
//
// The last two are for tests alone, on drivers without units for bfloat16: with
// float16 in its place, which splits operands of moderate size as exactly.
//
//needs GL_KHR_cooperative_matrix GL_EXT_bfloat16
//variant matrix_f16_m2n2           TM=2 TN=2 PARTS=1 MODES
//variant matrix_f16_m4n4           TM=4 TN=4 PARTS=1 MODES
//variant matrix_bf16_m2n2          TM=2 TN=2 PARTS=1 BF16 MODES
//variant matrix_bf16_m4n4          TM=4 TN=4 PARTS=1 BF16 MODES
//variant matrix_split_m2n2         TM=2 TN=2 PARTS=3 BF16 MODES
//variant matrix_split_deform_m2n2  TM=2 TN=2 PARTS=3 BF16 DEFORM
//variant matrix_twin_m2n2          TM=2 TN=2 PARTS=3 MODES
//variant matrix_twin_deform_m2n2   TM=2 TN=2 PARTS=3 DEFORM
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_x = 128) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { vec4 wt[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#ifdef DEFORM
#define DEFORMABLE
#endif
#include "problem.glsl"
#include "finish.glsl"
#ifdef DEFORM
layout(binding = 3) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { float mask[]; };
#include "sample.glsl"
#endif
#include "matrix.glsl"
#include "implicit.glsl"
