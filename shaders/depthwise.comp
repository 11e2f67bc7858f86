#version 450
// Depthwise convolution: an invocation walks down a strip of TN output columns
// of one channel, with the strip of input rows that its taps meet in registers,
// and loads every input row once.
//
//        TN = 4, 3 × 3 taps, in units of the dilation
//
//        v v v v v v  ┐
//        v v v v v v  │ window: TROWS rows       → 4 outputs
//        v v v v v v  ┘
//        + + + + + +    the ESTEP rows loaded next, the window moves down
//
// Outputs of a strip are stepY, stepX apart, as in conv2d.comp, so that any
// dilation has the same window. A loop that is gone round often, and not a
// larger tile taken apart: on lavapipe a tile of 7 × 7 outputs loaded less and
// took three times as long, its code being too long for the instruction cache.
//
//variant depthwise_l8_r3       TROWS=3 TAPS=3 TN=7 ESTEP=1 LANES=8
//variant depthwise_l8_r3e2     TROWS=3 TAPS=3 TN=7 ESTEP=2 LANES=8
//variant depthwise_l8_r5       TROWS=5 TAPS=5 TN=7 ESTEP=1 LANES=8
//variant depthwise_l4_r3       TROWS=3 TAPS=3 TN=7 ESTEP=1 LANES=4 BROADCAST
//variant depthwise_l4_r3e2     TROWS=3 TAPS=3 TN=7 ESTEP=2 LANES=4 BROADCAST
//variant depthwise_r3          TROWS=3 TAPS=3 TN=4 ESTEP=1 LANES=1
//variant depthwise_r3e2        TROWS=3 TAPS=3 TN=4 ESTEP=2 LANES=1
//variant depthwise_flat_r3     TROWS=3 TAPS=3 TN=7 ESTEP=1 LANES=1 FLAT
//variant depthwise_flat_r3e2   TROWS=3 TAPS=3 TN=7 ESTEP=2 LANES=1 FLAT
//
// FLAT: a workgroup takes strips of several channels, each with weights of its
// own. For images of few strips: one of 7 × 7 is a single one, and seven of eight
// invocations would have nothing to do. 1,024 channels of 7 × 7 took 0.87 ms on
// lavapipe and 1.62 on SwiftShader; so they take 0.30 and 0.25.
#extension GL_GOOGLE_include_directive : require
#define VALUES ((TN - 1) * ESTEP + TAPS)
#define HELD ((TROWS * TAPS + LANES - 1) / LANES)
#define AHEAD ((TROWS - 1) / ESTEP) // steps that fill the window

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#define STRIP
#include "problem.glsl"
#include "lanes.glsl"
#include "finish.glsl"

float weight[TROWS * TAPS];
float window[TROWS * VALUES];
int column[VALUES];

void loadWeights(int k) {
  int w0 = k * HELD * LANES;
#if LANES > 1
  float held[HELD];
  UNROLL for (int i = 0; i < HELD; i++) held[i] = wt[w0 + i * LANES + LANE];
  UNROLL for (int i = 0; i < TROWS * TAPS; i++) weight[i] = fourWeights(held[i / LANES], i % LANES / 4)[i % 4];
#else
  UNROLL for (int i = 0; i < TROWS * TAPS; i++) weight[i] = wt[w0 + i];
#endif
}

// advance moves the window down; unit is the first new row, in units of the dilation.
void advance(int plane, int iy0, int unit) {
  UNROLL for (int i = 0; i < (TROWS - ESTEP) * VALUES; i++) window[i] = window[i + ESTEP * VALUES];
  UNROLL for (int e = 0; e < ESTEP; e++) {
    int iy = mapPad(iy0 + (unit + e) * p.unitY, p.h);
    UNROLL for (int i = 0; i < VALUES; i++) {
      bool inside = min(iy, column[i]) >= 0;
      float v = x[plane + mix(0, iy * p.w + column[i], inside)];
      window[(TROWS - ESTEP + e) * VALUES + i] = mix(0.0, v, inside);
    }
  }
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
#ifdef FLAT
  int item = int(tile) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  bool exists = item < p.items * p.blocks;
  item = min(item, p.items * p.blocks - 1);
  int k = item / p.items;
  item -= k * p.items;
#else
  int itemBlocks = (p.items + int(gl_WorkGroupSize.x) - 1) / int(gl_WorkGroupSize.x);
  int k = int(tile / uint(itemBlocks));
  int item = int(tile - uint(k * itemBlocks)) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  bool exists = item < p.items;
  item = min(item, p.items - 1);
#endif
  // item → image, strip's first row, strip's first column
  int line = item / p.rowItems, inRow = item - line * p.rowItems;
  int n = line / p.columnItems, inColumn = line - n * p.columnItems;
  int oy = inColumn / p.stepY, ox = inRow / p.stepX;
  oy = oy * p.strip * p.stepY + (inColumn - oy * p.stepY);
  ox = ox * TN * p.stepX + (inRow - ox * p.stepX);
  int plane = p.firstX + (n * p.c + k / p.kg) * p.h * p.w;
  int iy0 = oy * p.strideY - p.top, ix0 = ox * p.strideX - p.left;
  UNROLL for (int i = 0; i < VALUES; i++) column[i] = mapPad(ix0 + i * p.unitX, p.w);
  UNROLL for (int i = 0; i < TROWS * VALUES; i++) window[i] = 0.0;
  loadWeights(k);
  float bias = wt[p.biasAt + k];
  int width = p.wo;
  for (int i = -AHEAD; i < p.strip; i++) {
    advance(plane, iy0, i * ESTEP + TROWS - ESTEP);
    int py = oy + i * p.stepY;
    bool stored = all(bvec3(exists, i >= 0, py < p.ho));
    int at = p.firstY + ((n * p.k + k) * p.ho + py) * p.wo;
    vec4 sum[(TN + 3) / 4];
    UNROLL for (int t = 0; t < TN; t++) {
      float one = 0.0;
      UNROLL for (int r = 0; r < TROWS; r++) {
        UNROLL for (int s = 0; s < TAPS; s++) one = fma(weight[r * TAPS + s], window[r * VALUES + t * ESTEP + s], one);
      }
      sum[t / 4][t % 4] = one + bias;
    }
    UNROLL for (int q = 0; q < (TN + 3) / 4; q++) sum[q] = finish(sum[q]);
    UNROLL for (int t = 0; t < TN; t++) {
      int px = ox + t * p.stepX;
      if (all(bvec2(stored, px < width))) y[at + px] = sum[t / 4][t % 4];
    }
  }
}
