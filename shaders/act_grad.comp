#version 450
// dx = dy · a'(x), see conv.Activation.Derivative. Selections, no branches but by
// kind; NaN stays NaN.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const int activation = 0; // conv.ActivationKind
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) writeonly buffer InputGradientBuffer { float dx[]; };
layout(push_constant) uniform Push {
  uint  tiles;
  int   items;     // elements
  float low, high; // LeakyReLU's slope; Clamp's ends
} p;

#include "flat.glsl"

// normal is Φ(v), by erfc as in activation.glsl.
float normal(float v) {
  float z = abs(v) * 0.70710678118654752, w = z * z;
  float t = 1.0 / (1.0 + 0.3275911 * z);
  float tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-w);
  float near = 1.12837911 + w * (-0.37612626 + w * (0.112835944 + w * (-0.0268542115 + w * (0.00518908724 + w * (-0.00080168643 + w * 7.87587487e-5)))));
  tail = mix(tail, 1.0 - z * near, z < 1.0);
  return 0.5 * mix(2.0 - tail, tail, v < 0.0);
}

void main() {
  int i = item();
  if (i >= p.items) return;
  float v = x[i], d = dy[i], g = d;
  float bound = clamp(v, -1e3, 1e3); // ∞·0 would be NaN; the limit is 0
  if (activation == 1) g = mix(0.0, d, v > 0.0);
  if (activation == 2) g = mix(0.0, d, v > 0.0 && v < 6.0);
  if (activation == 3) g = mix(p.low * d, d, v > 0.0);
  if (activation == 7) g = mix(0.0, d, v > p.low && v < p.high);
  if (activation == 4 || activation == 6) {
    float e = exp(-abs(v)); // does not overflow
    float sigmoid = mix(1.0, e, v < 0.0) / (1.0 + e), bell = e / ((1.0 + e) * (1.0 + e));
    g = d * mix(sigmoid + bound * bell, bell, activation == 6);
  }
  if (activation == 5) g = d * (normal(v) + bound * (exp(-0.5 * bound * bound) * 0.39894228040143268));
  dx[i] = mix(g, v, isnan(v));
}
