#version 450
// Lays weights and biases out for a kernel by a table: entry 0 is a zero, i up to
// the number of weights is weight i−1, and what is above counts the biases.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer TableBuffer { int table[]; };
layout(binding = 1) readonly buffer WeightBuffer { float weight[]; };
layout(binding = 2) readonly buffer BiasBuffer { float bias[]; };
layout(binding = 3) writeonly buffer PackedBuffer { float packed_[]; };
layout(push_constant) uniform Push {
  uint tiles;
  int  items;   // elements of the layout
  int  weights; // how many
} p;

#include "flat.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  int at = table[i];
  float v = 0.0;
  if (at > p.weights) v = bias[at - p.weights - 1];
  else if (at > 0) v = weight[at - 1];
  packed_[i] = v;
}
