#version 450
// Winograd's transform of the sums to outputs, see winograd.glsl: an invocation
// does one tile of one channel of M[ALPHA²][channel][tile].
//
//variant winograd_out_m2  MADE=2
//variant winograd_out_m4  MADE=4
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer SumBuffer { float m[]; };
layout(binding = 1) readonly buffer BiasBuffer { float bias[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#include "winograd.glsl"
#include "finish.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int itemBlocks = p.room / int(gl_WorkGroupSize.x);
  int k = int(tile / uint(itemBlocks));
  int slot = int(tile - uint(k * itemBlocks)) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  int from = k * p.room + slot, next = p.channels * p.room;
  UNROLL for (int i = 0; i < ALPHA * ALPHA; i++) d[i] = m[from + i * next];
  UNROLL for (int b = 0; b < ALPHA; b++) axisOut(b, ALPHA);
  UNROLL for (int a = 0; a < MADE; a++) axisOut(a * ALPHA, 1);
  float add = bias[k];
  bool exists = p.firstItem + slot < p.items;
  Place here = placeOf(min(p.firstItem + slot, p.items - 1));
  int image = p.firstY + (here.n * p.k + k) * p.ho * p.wo;
  UNROLL for (int a = 0; a < MADE; a++) {
    int oy = here.y + a * p.stepY;
    vec4 row = vec4(d[a * ALPHA], d[a * ALPHA + 1], d[a * ALPHA + MADE - 2], d[a * ALPHA + MADE - 1]);
    row = finish(row + add);
    UNROLL for (int b = 0; b < MADE; b++) {
      int ox = here.x + b * p.stepX;
      if (exists && oy < p.ho && ox < p.wo) y[image + oy * p.wo + ox] = row[b];
    }
  }
}
