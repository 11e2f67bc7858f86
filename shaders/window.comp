#version 450
// Pooling over windows: an invocation computes one output, or one pixel's
// gradient from the outputs whose windows hold it. That of a maximum finds each
// such window's maximum again rather than keep where it was.
//
//variant window_max MAXIMUM
//variant window_mean
//variant window_mean_grad GRAD
//variant window_max_grad MAXIMUM GRAD
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
#if defined(GRAD) && defined(MAXIMUM)
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) readonly buffer InputBuffer { float x[]; };
layout(binding = 2) writeonly buffer InputGradientBuffer { float dx[]; };
#elif defined(GRAD)
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) writeonly buffer InputGradientBuffer { float dx[]; };
#else
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) writeonly buffer OutputBuffer { float y[]; };
#endif

#define EXTRA int r, s, strideY, strideX, dilationY, dilationX, top, left, bottom, right, exclude;
#include "scales.glsl"

// inside tells whether 0 ≤ i < n.
bool inside(int i, int n) { return uint(i) < uint(n); }

#ifdef MAXIMUM
// maximum is the pixel of image from that output (oy, ox) takes, −1 where none lies
// in its window, and its value: the first of equal ones, of several NaN the last.
int maximum(int from, int oy, int ox, out float best) {
  int at = -1, top = oy * p.strideY - p.top, left = ox * p.strideX - p.left;
  best = uintBitsToFloat(0xff800000u);
  for (int r = 0; r < p.r; r++) {
    int iy = top + r * p.dilationY, row = clamp(iy, 0, p.h - 1) * p.w;
    for (int s = 0; s < p.s; s++) {
      int ix = left + s * p.dilationX, pixel = row + clamp(ix, 0, p.w - 1);
      float v = x[from + pixel];
      bool within = inside(iy, p.h), held = inside(ix, p.w), more = v > best, first = at < 0, odd = isnan(v);
      bool take = within && held && (more || first || odd);
      best = mix(best, v, take);
      at = mix(at, pixel, take);
    }
  }
  return at;
}
#else
// counted is how many pixels of a window along one axis count.
int counted(int first, int kernel, int n, int behind) {
  int end = min(first + kernel, n + behind);
  return mix(end, min(end, n), p.exclude == 1) - mix(first, max(first, 0), p.exclude == 1);
}

float divisor(int oy, int ox) {
  return float(counted(oy * p.strideY - p.top, p.r, p.h, p.bottom) * counted(ox * p.strideX - p.left, p.s, p.w, p.right));
}
#endif

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int item = int(tile) * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x);
  if (item >= p.items) return;
#ifdef GRAD
  int plane = p.h * p.w, channel = item / plane, pixel = item - channel * plane;
  int iy = pixel / p.w, ix = pixel - iy * p.w, from = planeY(channel);
  float sum = 0.0;
  for (int r = 0; r < p.r; r++) {
    int ty = iy + p.top - r * p.dilationY, oy = ty / p.strideY;
    bool row = ty >= 0, hit = oy * p.strideY == ty, exists = oy < p.ho;
    if (row && hit && exists) {
      for (int s = 0; s < p.s; s++) {
        int tx = ix + p.left - s * p.dilationX, ox = tx / p.strideX;
        bool column = tx >= 0, meets = ox * p.strideX == tx, there = ox < p.wo;
        if (column && meets && there) {
#ifdef MAXIMUM
          float best;
          int at = maximum(planeX(channel), oy, ox, best);
          sum += mix(0.0, dy[from + oy * p.wo + ox], at == pixel);
#else
          sum += dy[from + oy * p.wo + ox] / divisor(oy, ox);
#endif
        }
      }
    }
  }
  dx[planeX(channel) + pixel] = sum;
#else
  int plane = p.ho * p.wo, channel = item / plane, pixel = item - channel * plane;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo, from = planeX(channel);
#ifdef MAXIMUM
  float best;
  maximum(from, oy, ox, best);
  y[planeY(channel) + pixel] = best;
#else
  int top = oy * p.strideY - p.top, left = ox * p.strideX - p.left;
  int r1 = min(p.r, p.h - top), s1 = min(p.s, p.w - left);
  float sum = 0.0;
  for (int r = max(-top, 0); r < r1; r++) {
    for (int s = max(-left, 0); s < s1; s++) sum += x[from + (top + r) * p.w + left + s];
  }
  y[planeY(channel) + pixel] = sum / divisor(oy, ox);
#endif
#endif
}
