#version 450
// Winograd's transform of the input, see winograd.glsl: an invocation does one
// tile of some channels, and writes V[ALPHA²][channel][tile].
//
//variant winograd_in_m2  MADE=2 MODES
//variant winograd_in_m4  MADE=4 MODES
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) writeonly buffer TransformedBuffer { float v[]; };

#include "winograd.glsl"
#include "grad_pad.glsl"

int at[ALPHA * ALPHA];
bool inside[ALPHA * ALPHA];

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int itemBlocks = p.room / int(gl_WorkGroupSize.x);
  int block = int(tile / uint(itemBlocks));
  int slot = int(tile - uint(block * itemBlocks)) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  Place here = placeOf(min(p.firstItem + slot, p.items - 1));
  int plane = p.h * p.w, c0 = block * p.share;
  int image = p.firstX + (here.n * p.c + c0) * plane;
  UNROLL for (int a = 0; a < ALPHA; a++) {
    int iy = mapPad(here.y - p.top + a * p.stepY, p.h);
    UNROLL for (int b = 0; b < ALPHA; b++) {
      int ix = mapPad(here.x - p.left + b * p.stepX, p.w);
      inside[a * ALPHA + b] = min(iy, ix) >= 0;
      at[a * ALPHA + b] = image + mix(0, iy * p.w + ix, inside[a * ALPHA + b]);
    }
  }
  int to = c0 * p.room + slot, next = p.channels * p.room;
  int end = min(c0 + p.share, p.channels);
  for (int c = c0; c < end; c++) {
    UNROLL for (int i = 0; i < ALPHA * ALPHA; i++) {
      d[i] = mix(0.0, x[at[i]], inside[i]); // selected, not multiplied by 0: the element may be an infinity
      at[i] += plane;
    }
    UNROLL for (int b = 0; b < ALPHA; b++) axisIn(b, ALPHA);
    UNROLL for (int a = 0; a < ALPHA; a++) axisIn(a * ALPHA, 1);
    UNROLL for (int i = 0; i < ALPHA * ALPHA; i++) v[to + i * next] = d[i];
    to += p.room;
  }
}
