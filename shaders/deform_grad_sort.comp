#version 450
// Sorts each cell's list of samples, see deform_grad_list.comp. Lists have about
// as many samples as the kernel has taps, but offsets may drive all into one
// cell: Shell's sort with Knuth's gaps 1, 4, 13, ... stays below n^1.5.
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer StartBuffer { int start[]; };
layout(binding = 1) buffer OrderBuffer { int order[]; };

#include "grad.glsl"

void main() {
  uint tile = tileIndex();
  int i = int(tile) * LOCAL + LOCAL_ID;
  if (tile >= p.tiles || i >= p.items) return;
  int cells = (p.h + 1) * (p.w + 1), list = i / cells;
  int from = start[i + list], n = start[i + list + 1] - from; // a list has cells + 1 starts
  int at = list * p.r * p.s * p.pixels + from;
  int gap = 1;
  while (gap < n / 3) gap = 3 * gap + 1;
  for (; gap > 0; gap /= 3) {
    for (int k = gap; k < n; k++) {
      int v = order[at + k], j = k, u = order[at + k - gap];
      while (all(bvec2(j >= gap, u > v))) {
        order[at + j] = u;
        j -= gap;
        u = order[at + max(j - gap, 0)];
      }
      order[at + j] = v;
    }
  }
}
