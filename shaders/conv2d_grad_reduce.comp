#version 450
// Adds partial results up, the first first: sum[i] = Σ part[j][i]. Two passes
// in a fixed order instead of atomics keep the bits the same.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer PartBuffer { float part[]; };
layout(binding = 1) writeonly buffer SumBuffer { float sum[]; };
layout(push_constant) uniform Push {
  uint tiles;
  int  items; // elements
  int  parts;
} p;

void main() {
  uint tile = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
  int i = int(tile * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
  if (tile >= p.tiles || i >= p.items) return;
  float total = 0.0;
  for (int j = 0; j < p.parts; j++) total += part[j * p.items + i];
  sum[i] = total;
}
