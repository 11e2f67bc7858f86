#version 450
// Partial sums of batch normalization, part i by channel c, in this order:
//
//   batchnorm_sum_mean   x
//   batchnorm_sum_var    (x − mean)²
//   batchnorm_sum_grad   dy·x̂, and behind all of those dy
//
// An invocation takes a share of a channel's values, one after the other; what
// batchnorm_finish.comp adds up, in order.
//
//variant batchnorm_sum_mean
//variant batchnorm_sum_var SECOND
//variant batchnorm_sum_grad GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
#ifdef GRAD
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) readonly buffer MeanBuffer { float mean[]; };
layout(binding = 3) readonly buffer VarianceBuffer { float variance[]; };
layout(binding = 4) buffer PartBuffer { float part[]; };
#elif defined(SECOND)
layout(binding = 1) readonly buffer MeanBuffer { float mean[]; };
layout(binding = 2) buffer PartBuffer { float part[]; };
#else
layout(binding = 1) buffer PartBuffer { float part[]; };
#endif

#include "batchnorm.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  int c = i / p.parts, first = i - c * p.parts - p.phase;
  first += mix(0, p.parts, first < 0);
  int to = p.firstChannel * p.parts + i;
  float before = part[to];
  float sum = mix(0.0, before, p.goesOn != 0);
#ifdef GRAD
  int toPlain = p.c * p.parts + to;
  before = part[toPlain];
  float plain = mix(0.0, before, p.goesOn != 0);
  float mu = mean[p.firstChannel + c], r = inversesqrt(variance[p.firstChannel + c] + p.eps);
#elif defined(SECOND)
  float mu = mean[p.firstChannel + c];
#endif
  // Neighbouring invocations take neighbouring values.
  for (int j = 0; j < p.share; j++) {
    int v = first + j * p.parts;
    int from = at(c, min(v, p.values - 1));
#ifdef GRAD
    float d = mix(0.0, dy[from], v < p.values);
    plain += d;
    sum += d * ((x[from] - mu) * r);
#elif defined(SECOND)
    float d = x[from] - mu;
    sum += mix(0.0, d * d, v < p.values);
#else
    sum += mix(0.0, x[from], v < p.values);
#endif
  }
  part[to] = sum;
#ifdef GRAD
  part[toPlain] = plain;
#endif
}
