#version 450
// Adds up what batchnorm_sum.comp left of each channel and makes the result of it:
// the mean; the variance, and the running moments' step towards both; dweight and
// dbias.
//
//variant batchnorm_finish_mean
//variant batchnorm_finish_var SECOND
//variant batchnorm_finish_grad GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer PartBuffer { float part[]; };
#ifdef GRAD
layout(binding = 1) writeonly buffer SumBuffer { float sums[]; }; // dweight, then dbias
#elif defined(SECOND)
layout(binding = 1) readonly buffer MeanBuffer { float mean[]; };
layout(binding = 2) writeonly buffer VarianceBuffer { float variance[]; };
layout(binding = 3) buffer RunningMeanBuffer { float runningMean[]; };
layout(binding = 4) buffer RunningVarianceBuffer { float runningVariance[]; };
#else
layout(binding = 1) writeonly buffer MeanBuffer { float mean[]; };
#endif

#include "batchnorm.glsl"

void main() {
  int c = item();
  if (c >= p.items) return;
  float sum = 0.0;
  for (int i = 0; i < p.parts; i++) sum += part[c * p.parts + i];
#ifdef GRAD
  sums[c] = sum;
  sum = 0.0;
  for (int i = 0; i < p.parts; i++) sum += part[(p.c + c) * p.parts + i];
  sums[p.c + c] = sum;
#elif defined(SECOND)
  float var = sum / p.count;
  variance[c] = var;
  if (p.moves == 0) return;
  runningMean[c] = (1.0 - p.momentum) * runningMean[c] + p.momentum * mean[c];
  runningVariance[c] = (1.0 - p.momentum) * runningVariance[c] + p.momentum * (var * p.unbiased);
#else
  mean[c] = sum / p.count;
#endif
}
