#version 450
// Ordinary convolution with few output channels in a group, depthwise above
// all: a register tile of TY × TN outputs of one channel, every input value
// loaded once for all taps that it meets.
//
// The outputs of a tile are stepY, stepX apart, as in conv2d.comp, so that its
// taps and outputs meet in the same inputs at any dilation. 3×3 taps, TY = 2,
// TN = 4, ESTEP = 1, in units of the dilation:
//
//     v v v v v v
//     v v v v v v      4 × 6 values loaded for 2 × 4 × 9 products
//     v v v v v v
//     v v v v v v
//
// TROWS × TAPS taps are taken at once. With 1 × 1 the kernel may have any size.
//
//variant grouped_n4           TROWS=1 TAPS=1 TY=1 TN=4 ESTEP=1 LANES=1 MODES
//variant grouped_r3s3         TROWS=3 TAPS=3 TY=2 TN=4 ESTEP=1 LANES=1
#extension GL_GOOGLE_include_directive : require
#define VALUES ((TN - 1) * ESTEP + TAPS)
#define ROWS ((TY - 1) * ESTEP + TROWS)
#define HELD ((TROWS * TAPS + LANES - 1) / LANES)

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#include "problem.glsl"
#include "lanes.glsl"
#include "finish.glsl"

float acc[TY * TN];
float held[HELD]; // the taps' weights, one a lane
float weight[TROWS * TAPS];
float value[VALUES];
int column[VALUES];

// multiplyRow adds all products of row j of the values.
void multiplyRow(int j) {
  UNROLL for (int ty = 0; ty < TY; ty++) {
    UNROLL for (int r = 0; r < TROWS; r++) {
      if (ty * ESTEP + r == j) {
        UNROLL for (int t = 0; t < TN; t++) {
          UNROLL for (int s = 0; s < TAPS; s++) acc[ty * TN + t] = fma(weight[r * TAPS + s], value[t * ESTEP + s], acc[ty * TN + t]);
        }
      }
    }
  }
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int itemBlocks = (p.items + int(gl_WorkGroupSize.x) - 1) / int(gl_WorkGroupSize.x);
  int k = int(tile / uint(itemBlocks));
  int item = int(tile - uint(k * itemBlocks)) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  bool exists = item < p.items;
  item = min(item, p.items - 1);
  // item → image, tile row, tile column → first output
  int line = item / p.rowItems, inRow = item - line * p.rowItems;
  int n = line / p.columnItems, inColumn = line - n * p.columnItems;
  int oy = inColumn / p.stepY, ox = inRow / p.stepX;
  oy = oy * TY * p.stepY + (inColumn - oy * p.stepY);
  ox = ox * TN * p.stepX + (inRow - ox * p.stepX);
  int plane = p.h * p.w, first = n * p.c + k / p.kg * p.cg;
  int wAt = k * p.cg * p.r * p.s;
#if LANES > 1
  wAt = k * p.cg * HELD * LANES;
#endif
  UNROLL for (int i = 0; i < TY * TN; i++) acc[i] = 0.0;
  for (int r = 0; r < p.r; r += TROWS) {
    int iy0 = oy * p.strideY - p.top + r * p.dilationY;
    for (int s = 0; s < p.s; s += TAPS) {
      UNROLL for (int i = 0; i < VALUES; i++)
        column[i] = mapPad(ox * p.strideX - p.left + s * p.dilationX + i * p.unitX, p.w);
      for (int c = 0; c < p.cg; c++) {
        int at = p.firstX + (first + c) * plane;
#if LANES > 1
        int w0 = wAt + c * HELD * LANES;
        UNROLL for (int i = 0; i < HELD; i++) held[i] = wt[w0 + i * LANES + LANE];
        UNROLL for (int i = 0; i < TROWS * TAPS; i++) weight[i] = fourWeights(held[i / LANES], i % LANES / 4)[i % 4];
#else
        int w0 = wAt + (c * p.r + r) * p.s + s;
        UNROLL for (int i = 0; i < TROWS * TAPS; i++) weight[i] = wt[w0 + i];
#endif
        UNROLL for (int j = 0; j < ROWS; j++) {
          int iy = mapPad(iy0 + j * p.unitY, p.h);
          UNROLL for (int i = 0; i < VALUES; i++) {
            bool inside = min(iy, column[i]) >= 0;
            float v = x[at + mix(0, iy * p.w + column[i], inside)];
            value[i] = mix(0.0, v, inside);
          }
          multiplyRow(j);
        }
      }
    }
  }
  float bias = wt[p.biasAt + k];
  UNROLL for (int i = 0; i < TY * TN; i += 4) {
    vec4 v = finish(vec4(acc[i], acc[min(i + 1, TY * TN - 1)], acc[min(i + 2, TY * TN - 1)], acc[min(i + 3, TY * TN - 1)]) + bias);
    UNROLL for (int j = 0; j < 4; j++) {
      if (i + j < TY * TN) acc[i + j] = v[j];
    }
  }
  UNROLL for (int ty = 0; ty < TY; ty++) {
    int py = oy + ty * p.stepY;
    UNROLL for (int t = 0; t < TN; t++) {
      int px = ox + t * p.stepX;
      if (exists && py < p.ho && px < p.wo) y[p.firstY + ((n * p.k + k) * p.ho + py) * p.wo + px] = acc[ty * TN + t];
    }
  }
}
