#version 450
// Deformable convolution, v1 and v2 (Zhu et al. 2018), without a column buffer:
// the samples of one (input channel, tap) go straight into the register tile.
// Where a tap samples is worked out once for each offset group and kept for all
// of its channels:
//
//   for every tap, for every offset group in this weight group:
//     TN places (4 neighbours, 4 weights, mask)
//     for every channel of the group: TN samples, TM·TN products
//
// CHANNELS channels are taken in one step of the loop. It pays on SwiftShader
// (64 × 4 outputs with 2: 1.4 times as fast as 32 × 4 with 1), on lavapipe it does not.
//
//variant deform_m8n2         TM=8  TN=2 LANES=1 CHANNELS=1
//variant deform_l8_m8n2      TM=8  TN=2 LANES=8 CHANNELS=1
//variant deform_l8_m32n2     TM=32 TN=2 LANES=8 CHANNELS=1
//variant deform_l8_m64n2     TM=64 TN=2 LANES=8 CHANNELS=1
//variant deform_l4_m16n4     TM=16 TN=4 LANES=4 BROADCAST CHANNELS=1
//variant deform_l4_m32n4     TM=32 TN=4 LANES=4 BROADCAST CHANNELS=1
//variant deform_l4_m64n4     TM=64 TN=4 LANES=4 BROADCAST CHANNELS=2
#extension GL_GOOGLE_include_directive : require
#define ESTEP 1
#define VALUES TN
#define APART // see tile.glsl

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };
layout(binding = 3) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { float mask[]; };

#define DEFORMABLE
#include "problem.glsl"
#include "tile.glsl"
#include "store.glsl"
#include "sample.glsl"
#include "gather.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kb = int(tile % uint(p.blocks));
  int item = int(tile / uint(p.blocks)) * TN * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  int cg = p.cg, plane = p.h * p.w, pixels = p.ho * p.wo, taps = p.r * p.s;
  int firstChannel = kb / p.groupBlocks * cg;
  int firstOffset = firstChannel / p.offsetChannels, lastOffset = (firstChannel + cg - 1) / p.offsetChannels;
  int wAt = kb * taps * cg * TM;
  clearTile();
  locate(item);
  for (int r = 0; r < p.r; r++) {
    for (int s = 0; s < p.s; s++) {
      int c = 0;
      for (int q = firstOffset; q <= lastOffset; q++) {
        placeAll(q, r, s, firstChannel);
        int end = min(cg, (q + 1) * p.offsetChannels - firstChannel);
        for (; c < end; c += CHANNELS) {
          UNROLL for (int i = 0; i < CHANNELS; i++) {
            UNROLL for (int t = 0; t < TN; t++) value[t] = gather(t, (c + i) * plane);
            multiplyTile(wAt + (c + i) * TM, 0);
          }
        }
      }
      wAt += cg * TM;
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    int i = item + t * int(gl_WorkGroupSize.x);
    if (i < p.items) storePixel(t, kb, p.firstY + image[t] * p.k * pixels + pixel[t]);
  }
}
