#version 450
// Convolution as a product of matrices that share tiles in a workgroup, for
// devices with fast shared memory: output channels × outputs, summed over
// (tap, input channel). The matrix of inputs is never stored, its tile is
// gathered on the way:
//
//                           outputs → columns (a constant)
//                          ┌────────────┐
//      depth (a constant)  │ values     │   gathered: padding or bilinear samples
//                          └────────────┘
//          ┌──────┐        ┌────────────┐
//  channels│weight│        │ invocation:│
//     ↓    │      │        │ TM × TN    │   registers
//          └──────┘        └────────────┘
//
// An invocation always loads for the same output, so that it works out
// addresses, and in the deformable kernel sampling positions, once a tap (and
// offset group) and not once a channel.
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

// step adds the products of channels c … c + count of tap t; the values are in
// place, the weights not yet.
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

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return; // the whole workgroup does
  int kb = int(tile % uint(p.blocks)), first = int(tile / uint(p.blocks)) * columns;
  int tid = int(gl_LocalInvocationID.x);
  int g = kb / p.groupBlocks, cg = p.cg, plane = p.h * p.w, pixels = p.ho * p.wo, taps = p.r * p.s;
  int firstChannel = g * cg;
  // What this invocation loads: one output, every (threads / columns)th channel.
  int column = tid % columns, above = tid / columns, every = threads / columns;
  int item = min(first + column, p.items - 1);
  int n = item / pixels, pixel = item - n * pixels, oy = pixel / p.wo;
  int iy0 = oy * p.strideY - p.top, ix0 = (pixel - oy * p.wo) * p.strideX - p.left;
  int image = p.firstX + (n * p.c + firstChannel) * plane;
  UNROLL for (int i = 0; i < TM * TN; i++) acc[i] = 0.0;
  for (int t = 0; t < taps; t++) {
    int r = t / p.s, s = t - r * p.s;
    int wAt = (kb * taps + t) * cg * rows;
#ifdef DEFORM
    int c = 0;
    int lastOffset = (firstChannel + cg - 1) / p.offsetChannels;
    for (int q = firstChannel / p.offsetChannels; q <= lastOffset; q++) {
      int o = (n * p.offsetGroups + q) * taps + t;
      Place here = place(iy0 + r * p.dilationY, ix0 + s * p.dilationX, offset[o * 2 * pixels + pixel], offset[(o * 2 + 1) * pixels + pixel]);
      float m = mask[mix(0, o * pixels + pixel, p.masked != 0)];
      m = mix(1.0, m, p.masked != 0);
      ivec4 at = max(here.at, ivec4(0));
      bvec4 inside = greaterThanEqual(here.at, ivec4(0));
      int end = min(cg, (q + 1) * p.offsetChannels - firstChannel);
      for (; c < end; c += depth) {
        int count = min(depth, end - c);
        for (int d = above; d < depth; d += every) {
          int from = image + mix(0, (c + d) * plane, d < count);
          vec4 corner = mix(vec4(0.0), vec4(x[from + at.x], x[from + at.y], x[from + at.z], x[from + at.w]), inside);
          float sum = corner.x * here.weight.x + corner.y * here.weight.y + corner.z * here.weight.z + corner.w * here.weight.w;
          values[d * columns + column] = mix(0.0, sum * m, d < count);
        }
        multiply(tid, wAt + c * rows, count);
      }
      c = end;
    }
#else
    int iy = mapPad(iy0 + r * p.dilationY, p.h), ix = mapPad(ix0 + s * p.dilationX, p.w);
    bool inside = min(iy, ix) >= 0;
    int at = image + mix(0, iy * p.w + ix, inside);
    for (int c = 0; c < cg; c += depth) {
      int count = min(depth, cg - c);
      for (int d = above; d < depth; d += every) {
        bool exists = all(bvec2(inside, d < count));
        float v = x[mix(0, at + (c + d) * plane, exists)];
        values[d * columns + column] = mix(0.0, v, exists);
      }
      multiply(tid, wAt + c * rows, count);
    }
#endif
  }
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
