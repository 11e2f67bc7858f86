#version 450
// 1 × 1 convolution that leaves the image's size alone, where a plane holds a
// multiple of four pixels: both tensors are then rows of vec4, and an
// invocation computes TM channels × TN outputs that are TN/4 times four
// neighbours. Loads and stores of four cost less than four.
//
//variant pointwise_m8n4       TM=8  TN=4 LANES=1 CHANNELS=2
//variant pointwise_l8_m32n4   TM=32 TN=4 LANES=8 CHANNELS=4
//variant pointwise_l4_m16n8   TM=16 TN=8 LANES=4 CHANNELS=4 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define ESTEP 1
#define VALUES TN

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { vec4 x[]; };
layout(binding = 2) writeonly buffer OutputBuffer { vec4 y[]; };

#include "problem.glsl"
#include "tile.glsl"
#include "finish.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kb = int(tile % uint(p.blocks));
  int item = int(tile / uint(p.blocks)) * int(gl_WorkGroupSize.x) * (TN / 4) + int(gl_LocalInvocationID.x);
  int cg = p.cg, plane = p.h * p.w / 4, g = kb / p.groupBlocks;
  int at[TN / 4];
  UNROLL for (int t = 0; t < TN / 4; t++) {
    int i = min(item + t * int(gl_WorkGroupSize.x), p.items - 1);
    int n = i / plane;
    at[t] = p.firstX / 4 + (n * p.c + g * cg) * plane + i - n * plane;
  }
  int steps = (cg + CHANNELS - 1) / CHANNELS;
  int wAt = kb * steps * CHANNELS * TM;
  clearTile();
  for (int c = 0; c < cg; c += CHANNELS) {
    UNROLL for (int i = 0; i < CHANNELS; i++) {
      bool exists = i == 0 || c + i < cg;
      UNROLL for (int t = 0; t < TN / 4; t++) {
        vec4 v = x[mix(0, at[t], exists)];
        UNROLL for (int j = 0; j < 4; j++) value[t * 4 + j] = mix(0.0, v[j], exists);
        at[t] += plane;
      }
      multiplyTile(wAt + (c + i) * TM, 0);
    }
  }
  int first = (kb - g * p.groupBlocks) * TM;
  UNROLL for (int t = 0; t < TN / 4; t++) {
    int i = item + t * int(gl_WorkGroupSize.x), n = i / plane;
    if (i < p.items) {
      int o = p.firstY / 4 + (n * p.k + g * p.kg + first) * plane + i - n * plane;
      UNROLL for (int m = 0; m < TM; m++) {
        if (first + m < p.kg) {
          int a = m / 4 * TN + t * 4;
          y[o + m * plane] = finish(vec4(acc[a][m % 4], acc[a + 1][m % 4], acc[a + 2][m % 4], acc[a + 3][m % 4]) + biasOf(kb, m));
        }
      }
    }
  }
}
