#version 450
// Convolution as a product of matrices that share tiles in a workgroup, for
// devices with fast shared memory: the walk of implicit.glsl. An invocation holds
// the sums of TM output channels × TN outputs in registers.
//
//variant shared_conv_m4n4     TM=4 TN=4 MODES
//variant shared_conv_m8n4     TM=8 TN=4 MODES
//variant shared_deform_m4n4   TM=4 TN=4 DEFORM
//variant shared_deform_m8n4   TM=8 TN=4 DEFORM
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0, local_size_x = 256) in;
layout(constant_id = 2) const int columns = 64; // outputs of a workgroup
layout(constant_id = 3) const int depth = 16;   // channels of a step
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
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

const int threads = int(gl_WorkGroupSize.x);
const int rows = TM * (threads / (columns / TN)); // output channels of a workgroup
shared float values[depth * columns];
shared float weights[depth * rows];

float acc[TM * TN];

void clearSums() {
  UNROLL for (int i = 0; i < TM * TN; i++) acc[i] = 0.0;
}

void put(int d, int column, float v) { values[d * columns + column] = v; }

void multiply(int tid, int wAt, int count) {
  for (int i = tid; i < depth * rows; i += threads) {
    bool exists = i < count * rows;
    float w = wt[wAt + mix(0, i, exists)];
    weights[i] = mix(0.0, w, exists);
  }
  barrier();
  int tx = tid % (columns / TN), ty = tid / (columns / TN) * TM;
  for (int d = 0; d < depth; d++) {
    float v[TN];
    UNROLL for (int j = 0; j < TN; j++) v[j] = values[d * columns + j * (columns / TN) + tx];
    UNROLL for (int i = 0; i < TM; i++) {
      float w = weights[d * rows + ty + i];
      UNROLL for (int j = 0; j < TN; j++) acc[i * TN + j] = fma(w, v[j], acc[i * TN + j]);
    }
  }
  barrier();
}

void storeSums(int tid, int kb, int first) {
  int g = kb / p.groupBlocks, pixels = p.ho * p.wo;
  int tx = tid % (columns / TN), k0 = (kb - g * p.groupBlocks) * rows + tid / (columns / TN) * TM;
  UNROLL for (int j = 0; j < TN; j++) {
    int i = first + j * (columns / TN) + tx, image = i / pixels;
    if (i < p.items) {
      UNROLL for (int q = 0; q < TM; q += 4) {
        int b = p.biasAt + kb * rows + tid / (columns / TN) * TM + q;
        vec4 v = finish(vec4(acc[q * TN + j] + wt[b], acc[(q + 1) * TN + j] + wt[b + 1], acc[(q + 2) * TN + j] + wt[b + 2], acc[(q + 3) * TN + j] + wt[b + 3]));
        UNROLL for (int m = 0; m < 4; m++) {
          int k = k0 + q + m;
          if (k < p.kg) y[p.firstY + (image * p.k + g * p.kg + k) * pixels + i - image * pixels] = v[m];
        }
      }
    }
  }
}

#include "implicit.glsl"
