#version 450
// Gradient by the bias in double precision: an invocation sums a channel of dy.
// Terms go by images and rows.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 1) buffer BiasGradientBuffer { double dbias[]; };

#include "double.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  double sum = starts() ? 0.0lf : dbias[item];
  for (int j = p.from; j < p.to; j++) {
    int n = j / p.ho, from = ((n * p.k + item) * p.ho + j - n * p.ho) * p.wo;
    for (int ox = 0; ox < p.wo; ox++) sum += dy[from + ox];
  }
  dbias[item] = sum;
}
