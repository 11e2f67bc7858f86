#version 450
// Two tensors element by element in double precision: their sum, or as act_grad.comp
// the gradient a'(x)·dy of an activation.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int activation = 0; // conv.ActivationKind
#define ACTIVATION activation
layout(binding = 0) readonly buffer FirstBuffer { double a[]; };
layout(binding = 1) readonly buffer SecondBuffer { double b[]; };
layout(binding = 2) writeonly buffer OutputBuffer { double y[]; };
layout(push_constant) uniform Push {
  uint  tiles;
  int   items;     // elements
  int   gradient;  // 0 for the sum
  float low, high; // LeakyReLU's slope; Clamp's ends
} p;

#define DOUBLE
#include "real.glsl"
#include "flat.glsl"
#include "double_activation.glsl"

double slope(double v, double d) {
  double g = d, low = double(p.low), high = double(p.high);
  double bound = clamp(v, -1e3lf, 1e3lf); // ∞·0 would be NaN; the limit is 0
  if (ACTIVATION == 1) g = mix(0.0lf, d, v > 0.0lf);
  if (ACTIVATION == 2) g = mix(0.0lf, d, v > 0.0lf && v < 6.0lf);
  if (ACTIVATION == 3) g = mix(low * d, d, v > 0.0lf);
  if (ACTIVATION == 7) g = mix(0.0lf, d, v > low && v < high);
  if (ACTIVATION == 4 || ACTIVATION == 6) {
    double e = exponential(-abs(v));
    double sigmoid = mix(1.0lf, e, v < 0.0lf) / (1.0lf + e), bell = e / ((1.0lf + e) * (1.0lf + e));
    g = d * mix(sigmoid + bound * bell, bell, ACTIVATION == 6);
  }
  if (ACTIVATION == 5) {
    double tail = complement(min(abs(v) * 0.70710678118654752440lf, 40.0lf));
    double normal = 0.5lf * mix(2.0lf - tail, tail, v < 0.0lf);
    g = d * (normal + bound * (exponential(-0.5lf * bound * bound) * 0.39894228040143267794lf));
  }
  return mix(g, v, isNaN(v));
}

void main() {
  int i = item();
  if (i >= p.items) return;
  if (p.gradient == 0) y[i] = a[i] + b[i];
  else y[i] = slope(a[i], b[i]);
}
