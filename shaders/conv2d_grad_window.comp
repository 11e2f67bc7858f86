#version 450
// Gradient by the weight with few channels in a group and 3 × 3 taps: like
// conv2d_grad_depthwise.comp, but an invocation walks down strips of TN output
// columns with the rows of x that the taps meet in registers, and loads every
// row of x once:
//
//     TN = 4, in units of the dilation      v v v v v v  ┐
//                                           v v v v v v  │ window · 4 dy → 9 sums
//                                           v v v v v v  ┘
//                                           + + + + + +    the ESTEP rows loaded next
//
// Outputs of a strip are stepY, stepX apart, as in conv2d.comp, so that any
// dilation has the same window.
//
//variant conv2d_grad_window_e1   TN=4 ESTEP=1 MODES
//variant conv2d_grad_window_e1z  TN=4 ESTEP=1
//variant conv2d_grad_window_e2   TN=4 ESTEP=2 MODES
//variant conv2d_grad_window_e2z  TN=4 ESTEP=2
#extension GL_GOOGLE_include_directive : require
#define SPLIT
#define STRIPS
#define TAPS 3
#define VALUES ((TN - 1) * ESTEP + TAPS)

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) writeonly buffer PartBuffer { float dw[]; };

#include "grad.glsl"
#include "grad_pad.glsl"

float acc[TAPS * TAPS];
float window[TAPS * VALUES];
int column[VALUES];

// load fills row i of the window from input row y of the padded plane at.
void load(int i, int at, int y) {
  int iy = mapPad(y, p.h);
  UNROLL for (int j = 0; j < VALUES; j++) {
    bool inside = min(iy, column[j]) >= 0;
    float v = x[at + mix(0, iy * p.w + column[j], inside)];
    window[i * VALUES + j] = mix(0.0, v, inside);
  }
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kernel = int(tile % uint(p.blocks)), part = int(tile / uint(p.blocks)); // (k, c) in its group
  int k = kernel / p.cg, c = k / p.kg * p.cg + kernel - k * p.cg;
  UNROLL for (int i = 0; i < TAPS * TAPS; i++) acc[i] = 0.0;
  int end = min((part + 1) * p.share, p.items);
  for (int i = part * p.share + LOCAL_ID; i < end; i += LOCAL) { // strips
    int line = i / p.rowItems, inRow = i - line * p.rowItems;
    int n = line / p.columnItems, inColumn = line - n * p.columnItems;
    int oy = inColumn / p.stepY, ox = inRow / p.stepX;
    oy = oy * p.rows * p.stepY + (inColumn - oy * p.stepY);
    ox = ox * TN * p.stepX + (inRow - ox * p.stepX);
    UNROLL for (int j = 0; j < VALUES; j++) column[j] = mapPad(ox * p.strideX - p.left + j * p.dilationX, p.w);
    int at = (n * p.c + c) * p.h * p.w, from = ((n * p.k + k) * p.ho + oy) * p.wo;
    int y = oy * p.strideY - p.top; // of the window's first row
    UNROLL for (int r = ESTEP; r < TAPS; r++) load(r, at, y + (r - ESTEP) * p.dilationY);
    int rows = min(p.rows, (p.ho - oy + p.stepY - 1) / p.stepY);
    for (int row = 0; row < rows; row++) {
      UNROLL for (int j = 0; j < (TAPS - ESTEP) * VALUES; j++) window[j] = window[j + ESTEP * VALUES];
      UNROLL for (int r = TAPS - ESTEP; r < TAPS; r++) load(r, at, y + r * p.dilationY);
      UNROLL for (int t = 0; t < TN; t++) {
        int o = ox + t * p.stepX;
        float d = dy[from + min(o, p.wo - 1)];
        UNROLL for (int r = 0; r < TAPS; r++) {
          UNROLL for (int s = 0; s < TAPS; s++) acc[r * TAPS + s] += d * mix(0.0, window[r * VALUES + t * ESTEP + s], o < p.wo);
        }
      }
      y += ESTEP * p.dilationY;
      from += p.stepY * p.wo;
    }
  }
  int to = ((part * LOCAL + LOCAL_ID) * p.blocks + kernel) * TAPS * TAPS;
  UNROLL for (int i = 0; i < TAPS * TAPS; i++) dw[to + i] = acc[i];
}
