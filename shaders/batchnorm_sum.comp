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
layout(binding = 4) writeonly buffer PartBuffer { float part[]; };
#elif defined(SECOND)
layout(binding = 1) readonly buffer MeanBuffer { float mean[]; };
layout(binding = 2) writeonly buffer PartBuffer { float part[]; };
#else
layout(binding = 1) writeonly buffer PartBuffer { float part[]; };
#endif

#include "batchnorm.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  int c = i / p.parts, first = i - c * p.parts, values = p.n * p.plane;
  float sum = 0.0;
#ifdef GRAD
  float plain = 0.0, mu = mean[c], r = inversesqrt(variance[c] + p.eps);
#elif defined(SECOND)
  float mu = mean[c];
#endif
  // Neighbouring invocations take neighbouring values.
  for (int j = 0; j < p.share; j++) {
    int v = first + j * p.parts;
    int from = at(c, min(v, values - 1));
#ifdef GRAD
    float d = mix(0.0, dy[from], v < values);
    plain += d;
    sum += d * ((x[from] - mu) * r);
#elif defined(SECOND)
    float d = x[from] - mu;
    sum += mix(0.0, d * d, v < values);
#else
    sum += mix(0.0, x[from], v < values);
#endif
  }
  part[i] = sum;
#ifdef GRAD
  part[p.items + i] = plain;
#endif
}
