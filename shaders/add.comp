#version 450
// y = a + b, element by element.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer FirstBuffer { float a[]; };
layout(binding = 1) readonly buffer SecondBuffer { float b[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };
layout(push_constant) uniform Push {
  uint tiles;
  int  items; // elements
} p;

#include "flat.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  y[i] = a[i] + b[i];
}
