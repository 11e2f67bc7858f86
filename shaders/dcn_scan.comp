#version 450
// Third of the steps in dcn_cells.comp: a workgroup turns the counts of a
// group's cells into where their parts of the list start. Every invocation adds
// up a run of cells, the runs' sums are added up in shared memory, then every
// invocation goes over its run again.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) buffer CellBuffer { uint cell[]; };

#include "dcn.glsl"

shared uint sums[gl_WorkGroupSize.x];

void main() {
  int group = int(gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x);
  int cells = (p.h + 1) * (p.w + 1);
  int me = int(gl_LocalInvocationID.x), all = int(gl_WorkGroupSize.x);
  int run = (cells + all - 1) / all;
  bool work = group < p.items;
  int from = group * cells + min(me * run, cells), to = group * cells + min((me + 1) * run, cells);
  uint sum = 0u;
  if (work) {
    for (int i = from; i < to; i++) sum += cell[i];
  }
  sums[me] = sum;
  barrier();
  uint start = 0u;
  for (int i = 0; i < me; i++) start += sums[i];
  if (work) {
    for (int i = from; i < to; i++) {
      uint count = cell[i];
      cell[i] = start;
      start += count;
    }
  }
}
