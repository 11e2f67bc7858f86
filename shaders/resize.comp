#version 450
// Bilinear resize: an invocation computes one output from four pixels, or one
// pixel's gradient from the outputs that read it. A table made by the host, in
// whole numbers and float32 bits, tells where:
//
//   rows:     pixel above, fraction               for each row of y
//   columns:  pixel to the left, fraction         for each column of y
//   readers:  first output, behind the last       for each row of x, each column of x
//
//variant resize
//variant resize_grad GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
#ifdef GRAD
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) readonly buffer TableBuffer { int table[]; };
layout(binding = 2) writeonly buffer InputGradientBuffer { float dx[]; };
#else
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer TableBuffer { int table[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };
#endif

#include "scales.glsl"

// weight is that of pixel i, of n, in the output at an entry of the table.
float weight(int entry, int i, int n) {
  int at = table[entry * 2];
  float f = intBitsToFloat(table[entry * 2 + 1]);
  return mix(0.0, 1.0 - f, at == i) + mix(0.0, f, min(at + 1, n - 1) == i);
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int item = int(tile) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  if (item >= p.items) return;
#ifdef GRAD
  int plane = p.h * p.w, channel = item / plane, pixel = item - channel * plane;
  int iy = pixel / p.w, ix = pixel - iy * p.w;
  int rows = 2 * (p.ho + p.wo + iy), columns = 2 * (p.ho + p.wo + p.h + ix);
  int firstY = table[rows], endY = table[rows + 1], firstX = table[columns], endX = table[columns + 1];
  int from = planeY(channel);
  float sum = 0.0;
  for (int oy = firstY; oy < endY; oy++) {
    float row = 0.0;
    for (int ox = firstX; ox < endX; ox++) row += weight(p.ho + ox, ix, p.w) * dy[from + oy * p.wo + ox];
    sum += weight(oy, iy, p.h) * row;
  }
  dx[planeX(channel) + pixel] = sum;
#else
  int plane = p.ho * p.wo, channel = item / plane, pixel = item - channel * plane;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo;
  int above = table[oy * 2], left = table[(p.ho + ox) * 2];
  float fy = intBitsToFloat(table[oy * 2 + 1]), fx = intBitsToFloat(table[(p.ho + ox) * 2 + 1]);
  int right = min(left + 1, p.w - 1) - left, from = planeX(channel) + left;
  int top = from + above * p.w, bottom = from + min(above + 1, p.h - 1) * p.w;
  float upper = (1.0 - fx) * x[top] + fx * x[top + right];
  float lower = (1.0 - fx) * x[bottom] + fx * x[bottom + right];
  y[planeY(channel) + pixel] = (1.0 - fy) * upper + fy * lower;
#endif
}
