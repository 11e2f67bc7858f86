#version 450
// Softmax and cross-entropy over channels, see conv.CrossEntropy: an invocation a
// place.
//
//variant entropy
//variant entropy_grad GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer ClassBuffer { float class_[]; };
layout(binding = 2) writeonly buffer LossBuffer { float loss[]; };
#ifdef GRAD
layout(binding = 3) writeonly buffer InputGradientBuffer { float dx[]; };
#endif
layout(push_constant) uniform Push {
  uint  tiles;
  int   items; // places
  int   k;     // classes
  int   plane; // places of an image
  float scale;
} p;

#include "flat.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  int n = i / p.plane, first = n * p.k * p.plane + i - n * p.plane;
  float most = x[first];
  for (int k = 1; k < p.k; k++) most = max(most, x[first + k * p.plane]);
  float sum = 0.0;
  for (int k = 0; k < p.k; k++) sum += exp(x[first + k * p.plane] - most);
  float t = class_[i];
  int which = clamp(int(t), 0, p.k - 1);
  float off = uintBitsToFloat(0x7fc00000u); // where t is no class's number
  bool valid = float(which) == t;
  loss[i] = mix(off, log(sum) - (x[first + which * p.plane] - most), valid);
#ifdef GRAD
  float scale = mix(off, p.scale, valid);
  for (int k = 0; k < p.k; k++) {
    float share = exp(x[first + k * p.plane] - most) / sum;
    dx[first + k * p.plane] = scale * (share - mix(0.0, 1.0, k == which));
  }
#endif
}
