#version 450
// Deformable convolution with one input channel a group: a register tile of TM
// output channels of one offset group × TN outputs, whose places are worked out
// once for all of them.
//
//   for every tap:
//     TN places (4 neighbours, 4 weights, mask)
//     for TM channels: TN samples, TN products
//
//variant deform_depthwise_m4n2     TM=4 TN=2 LANES=1
//variant deform_depthwise_l8_m8n2  TM=8 TN=2 LANES=8
//variant deform_depthwise_l4_m8n2  TM=8 TN=2 LANES=4 BROADCAST
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };
layout(binding = 3) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { float mask[]; };

#define DEFORMABLE
#include "problem.glsl"
#include "lanes.glsl"
#include "sample.glsl"
#include "gather.glsl"
#include "finish.glsl"

float acc[TM * TN];
float weight[TM];

void loadWeights(int at) {
#if LANES > 1
  UNROLL for (int q = 0; q < TM / LANES; q++) {
    float held = wt[at + q * LANES + LANE];
    UNROLL for (int i = 0; i < LANES; i++) weight[q * LANES + i] = fourWeights(held, i / 4)[i % 4];
  }
#else
  UNROLL for (int i = 0; i < TM; i++) weight[i] = wt[at + i];
#endif
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int block = int(tile % uint(p.blocks));
  int item = int(tile / uint(p.blocks)) * TN * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  int plane = p.h * p.w, pixels = p.ho * p.wo, taps = p.r * p.s;
  int q = block / p.groupBlocks;                      // offset group
  int k0 = (block - q * p.groupBlocks) * TM;          // within the offset group
  int channels = p.offsetChannels * p.kg;             // outputs of an offset group
  UNROLL for (int i = 0; i < TM * TN; i++) acc[i] = 0.0;
  locate(item);
  for (int r = 0; r < p.r; r++) {
    for (int s = 0; s < p.s; s++) {
      placeAll(q, r, s, 0);
      loadWeights((block * taps + r * p.s + s) * TM);
      UNROLL for (int m = 0; m < TM; m++) {
        int c = q * p.offsetChannels + min(k0 + m, channels - 1) / p.kg;
        UNROLL for (int t = 0; t < TN; t++) acc[m * TN + t] += weight[m] * gather(t, c * plane);
      }
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    bool exists = item + t * int(gl_WorkGroupSize.x) < p.items;
    UNROLL for (int m = 0; m < TM; m += 4) {
      int b = p.biasAt + block * TM + m;
      vec4 v = finish(vec4(acc[m * TN + t] + wt[b], acc[(m + 1) * TN + t] + wt[b + 1], acc[(m + 2) * TN + t] + wt[b + 2], acc[(m + 3) * TN + t] + wt[b + 3]));
      UNROLL for (int i = 0; i < 4; i++) {
        int k = q * channels + k0 + m + i;
        if (exists && k0 + m + i < channels) y[p.firstY + (image[t] * p.k + k) * pixels + pixel[t]] = v[i];
      }
    }
  }
}
