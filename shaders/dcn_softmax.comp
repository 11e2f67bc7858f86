#version 450
// Softmax of raw masks over the points of each group, into a tensor of its own:
// the gradient by the input meets each mask many times.
//
//variant dcn_softmax
//variant double_dcn_softmax DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 1) writeonly buffer SoftmaxBuffer { real m[]; };

#include "dcn.glsl"
#include "dcn_mask.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = p.ho * p.wo;
  int pixel = item % plane, group = item / plane;
  int n = p.first + group / p.groups, g = group % p.groups;
  Softmax s = softmaxOf(n, g, pixel);
  for (int t = 0; t < p.points; t++) m[(group * p.points + t) * plane + pixel] = modulation(s, n, g, t, pixel);
}
