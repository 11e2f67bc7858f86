#version 450
// Bilinear resize: an invocation computes one output from four pixels, or one
// pixel's gradient from the outputs that read it. A table made by the host, in
// whole numbers and the bits of fractions, one word or two, tells where:
//
//   rows:     pixel above, fraction               for each row of y
//   columns:  pixel to the left, fraction         for each column of y
//   readers:  first output, behind the last       for each row of x, each column of x
//
//variant resize
//variant resize_grad GRAD
//variant double_resize DOUBLE
//variant double_resize_grad GRAD DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
#ifdef GRAD
layout(binding = 0) readonly buffer OutputGradientBuffer { real dy[]; };
layout(binding = 1) readonly buffer TableBuffer { int table[]; };
layout(binding = 2) writeonly buffer InputGradientBuffer { real dx[]; };
#else
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) readonly buffer TableBuffer { int table[]; };
layout(binding = 2) writeonly buffer OutputBuffer { real y[]; };
#endif

#include "scales.glsl"

#ifdef DOUBLE
#define ENTRY 3 // words
real fraction(int entry) { return packDouble2x32(uvec2(table[entry * ENTRY + 1], table[entry * ENTRY + 2])); }
#else
#define ENTRY 2
real fraction(int entry) { return intBitsToFloat(table[entry * ENTRY + 1]); }
#endif

// weight is that of pixel i, of n, in the output at an entry of the table.
real weight(int entry, int i, int n) {
  int at = table[entry * ENTRY];
  real f = fraction(entry);
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
  int readers = ENTRY * (p.ho + p.wo), rows = readers + 2 * iy, columns = readers + 2 * (p.h + ix);
  int firstY = table[rows], endY = table[rows + 1], firstX = table[columns], endX = table[columns + 1];
  int from = planeY(channel);
  real sum = 0.0;
  for (int oy = firstY; oy < endY; oy++) {
    real row = 0.0;
    for (int ox = firstX; ox < endX; ox++) row += weight(p.ho + ox, ix, p.w) * dy[from + oy * p.wo + ox];
    sum += weight(oy, iy, p.h) * row;
  }
  dx[planeX(channel) + pixel] = sum;
#else
  int plane = p.ho * p.wo, channel = item / plane, pixel = item - channel * plane;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo;
  int above = table[oy * ENTRY], left = table[(p.ho + ox) * ENTRY];
  real fy = fraction(oy), fx = fraction(p.ho + ox);
  int right = min(left + 1, p.w - 1) - left, from = planeX(channel) + left;
  int top = from + above * p.w, bottom = from + min(above + 1, p.h - 1) * p.w;
  real upper = (1.0 - fx) * x[top] + fx * x[top + right];
  real lower = (1.0 - fx) * x[bottom] + fx * x[bottom + right];
  y[planeY(channel) + pixel] = (1.0 - fy) * upper + fy * lower;
#endif
}
