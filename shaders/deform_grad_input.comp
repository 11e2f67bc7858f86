#version 450
// Gradient by the input of a deformable convolution. Samples scatter their
// gradient, column · mask, over four pixels, and many meet in one; so that no
// atomics are needed and the order of additions is always the same, a channel's
// plane of one image belongs to one invocation, which walks over all samples of
// the part in order and adds to what earlier parts left there.
#extension GL_GOOGLE_include_directive : require
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
  int n = i / p.c, c = i - n * p.c, q = c / p.offsetChannels, image = p.firstImage + n;
  int taps = p.r * p.s, from = i * taps * p.pixels;
  int at = (image * p.c + c) * p.h * p.w;
  for (int tap = 0; tap < taps; tap++) {
    for (int j = 0; j < p.pixels; j++) {
      int pixel = p.firstPixel + j;
      Place here = PLACE(image, q, tap, pixel);
      float d = column[from + tap * p.pixels + j] * MODULATION(image, q, tap, pixel);
      vec4 share = weights(here) * d;
      UNROLL for (int k = 0; k < 4; k++) {
        // Outside, 0 is added to the plane's first element: cheaper than a branch.
        dx[at + corner(here, k)] += mix(0.0, share[k], here.inside[k]);
      }
    }
  }
}
