#version 450
// Gradient by the input of a convolution in double precision, and with a bias and
// an activation behind it the transposed convolution. An invocation owns a row
// of a channel and adds to it what outputs, in their order, gave it. Terms go by
// output channels, output rows and kernel rows; with zeros as padding the
// output row follows from the other two.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint activation = 0;
#define ACTIVATION activation
layout(binding = 0) readonly buffer OutputGradientBuffer { double dy[]; };
layout(binding = 1) readonly buffer WeightBuffer { double weight[]; };
layout(binding = 2) readonly buffer BiasBuffer { double bias[]; };
layout(binding = 3) buffer InputGradientBuffer { double dx[]; };

#include "double.glsl"
#include "double_activation.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = item / p.h, iy = item - plane * p.h, n = plane / p.c, c = plane - n * p.c, g = c / p.cg;
  int to = item * p.w, rows = mix(p.ho, 1, p.mode == 0);
  if (starts()) {
    for (int i = 0; i < p.w; i++) dx[to + i] = 0.0lf;
  }
  for (int j = p.from; j < p.to; j++) {
    int i = j / p.r, r = j - i * p.r, k = i / rows;
    int reach = iy + p.top - r * p.dilationY, oy = mix(i - k * rows, reach / p.strideY, p.mode == 0);
    bool direct = all(bvec3(reach >= 0, oy * p.strideY == reach, oy < p.ho));
    bool meets = mix(mapPad(oy * p.strideY - p.top + r * p.dilationY, p.h) == iy, direct, p.mode == 0);
    int from = ((n * p.k + g * p.kg + k) * p.ho + oy) * p.wo;
    int w = (((g * p.kg + k) * p.cg + c - g * p.cg) * p.r + r) * p.s;
    for (int ox = mix(p.wo, 0, meets); ox < p.wo; ox++) {
      double d = dy[from + ox];
      for (int s = 0; s < p.s; s++) {
        int ix = mapPad(ox * p.strideX - p.left + s * p.dilationX, p.w);
        // Outside, 0 is added to the row's first element.
        dx[to + max(ix, 0)] += mix(0.0lf, weight[w + s] * d, ix >= 0);
      }
    }
  }
  if (has(LAST)) {
    double b = has(BIASED) ? bias[c] : 0.0lf;
    for (int i = 0; i < p.w; i++) dx[to + i] = activate(dx[to + i] + b, double(p.low), double(p.high));
  }
}
