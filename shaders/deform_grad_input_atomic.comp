#version 450
// Gradient by the input of a deformable convolution by atomic additions: an
// invocation adds the gradient of one sample, column · mask, to the four pixels
// around it. Which of two additions comes first is chance, so that the last bits
// differ from run to run; for callers who ask for that.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_atomic_float : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer ColumnBuffer { float column[]; };
layout(binding = 1) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 3) buffer InputGradientBuffer { float dx[]; };

#include "grad.glsl"
#include "grad_place.glsl"

void main() {
  uint tile = tileIndex();
  int i = int(tile) * LOCAL + LOCAL_ID;
  if (tile >= p.tiles || i >= p.items) return;
  int taps = p.r * p.s, plane = i / p.pixels, pixel = p.firstPixel + i - plane * p.pixels; // plane: (image, channel, tap)
  int channel = plane / taps, tap = plane - channel * taps, n = channel / p.c, c = channel - n * p.c;
  int q = c / p.offsetChannels, image = p.firstImage + n;
  Place here = PLACE(image, q, tap, pixel);
  vec4 share = weights(here) * (column[i] * MODULATION(image, q, tap, pixel));
  int at = (image * p.c + c) * p.h * p.w;
  if (here.inside.x) atomicAdd(dx[at + corner(here, 0)], share.x);
  if (here.inside.y) atomicAdd(dx[at + corner(here, 1)], share.y);
  if (here.inside.z) atomicAdd(dx[at + corner(here, 2)], share.z);
  if (here.inside.w) atomicAdd(dx[at + corner(here, 3)], share.w);
}
