#version 450
// Lists, for every cell between four pixels, the samples that fall into it, so
// that deform_grad_gather.comp need not scatter. A counting sort in four steps:
//
//   deform_grad_count   how many samples each cell has
//   deform_grad_scan    where each cell's list starts
//   deform_grad_fill    samples into the lists, in any order (COUNT undefined)
//   deform_grad_sort    each list in order
//
// The atomics are on integers and decide nothing: counts do not depend on the
// order, and the lists are sorted behind.
//
//variant deform_grad_count  COUNT
//variant deform_grad_fill
#extension GL_GOOGLE_include_directive : require
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 1) buffer CountBuffer { int count[]; };
#ifndef COUNT
layout(binding = 2) readonly buffer StartBuffer { int start[]; };
layout(binding = 3) writeonly buffer OrderBuffer { int order[]; };
#endif

#include "grad.glsl"
#include "grad_place.glsl"

void main() {
  uint tile = tileIndex();
  int i = int(tile) * LOCAL + LOCAL_ID;
  if (tile >= p.tiles || i >= p.items) return;
  int taps = p.r * p.s, samples = taps * p.pixels, cells = (p.h + 1) * (p.w + 1);
  int list = i / samples, e = i - list * samples; // list: (image, offset group)
  int tap = e / p.pixels, pixel = p.firstPixel + e - tap * p.pixels;
  int n = list / p.offsetGroups, q = list - n * p.offsetGroups;
  Place here = PLACE(p.firstImage + n, q, tap, pixel);
  if (here.cell < 0) return;
#ifdef COUNT
  atomicAdd(count[list * cells + here.cell], 1);
#else
  // Counted down again, so that the next part finds zeros.
  int nth = atomicAdd(count[list * cells + here.cell], -1) - 1;
  order[list * samples + start[list * (cells + 1) + here.cell] + nth] = e;
#endif
}
