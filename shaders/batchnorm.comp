#version 450
// Batch normalization of every element, and its gradient
//
//   dx = weight·r·(dy − dbias/M − x̂·dweight/M)        r = 1/√(variance + eps)
//
//variant batchnorm
//variant batchnorm_grad GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { float weight[]; };
layout(binding = 2) readonly buffer MeanBuffer { float mean[]; };
layout(binding = 3) readonly buffer VarianceBuffer { float variance[]; };
#ifdef GRAD
layout(binding = 4) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 5) readonly buffer SumBuffer { float sums[]; }; // dweight, then dbias
layout(binding = 6) writeonly buffer InputGradientBuffer { float dx[]; };
#else
layout(binding = 4) readonly buffer BiasBuffer { float bias[]; };
layout(binding = 5) writeonly buffer OutputBuffer { float y[]; };
#endif

#include "batchnorm.glsl"

void main() {
  int i = item();
  if (i >= p.items) return;
  int plane = i / p.pixels, image = plane / p.channels, inPiece = plane - image * p.channels;
  int c = p.firstChannel + inPiece;
  i = at(inPiece, image * p.pixels + i - plane * p.pixels);
  float d = x[i] - mean[c], r = inversesqrt(variance[c] + p.eps);
#ifdef GRAD
  dx[i] = weight[c] * r * (dy[i] - sums[p.c + c] / p.count - d * r * (sums[c] / p.count));
#else
  y[i] = d * r * weight[c] + bias[c];
#endif
}
