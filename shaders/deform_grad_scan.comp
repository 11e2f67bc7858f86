#version 450
// Where each cell's list of samples starts, see deform_grad_list.comp: sums of
// the counts before it. One workgroup for each image and offset group.
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer CountBuffer { int count[]; };
layout(binding = 1) writeonly buffer StartBuffer { int start[]; };

#include "grad.glsl"

shared int sums[256]; // workgroups are not larger

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int cells = (p.h + 1) * (p.w + 1), list = int(tile);
  int share = (cells + LOCAL - 1) / LOCAL, first = min(LOCAL_ID * share, cells), end = min(first + share, cells);
  int sum = 0;
  for (int i = first; i < end; i++) sum += count[list * cells + i];
  sums[LOCAL_ID] = sum;
  barrier();
  int before = 0;
  for (int j = 0; j < LOCAL_ID; j++) before += sums[j];
  for (int i = first; i < end; i++) {
    start[list * (cells + 1) + i] = before;
    before += count[list * cells + i];
  }
  if (LOCAL_ID == LOCAL - 1) start[list * (cells + 1) + cells] = before;
}
