// Samples of a deformable convolution. Needs OffsetBuffer and MaskBuffer.

// offsetAt is the element of Δy of a tap of an offset group, for an output
// pixel; that of Δx is ho·wo further on.
int offsetAt(int image, int q, int tap, int pixel) {
  return ((image * p.offsetGroups + q) * p.r * p.s + tap) * 2 * p.ho * p.wo + pixel;
}

Place place(int image, int q, int tap, int pixel) {
  int at = offsetAt(image, q, tap, pixel), oy = pixel / p.wo, r = tap / p.s;
  double fy, fx;
  int y = oy * p.strideY - p.top + r * p.dilationY + whole(offset[at], fy);
  int x = (pixel - oy * p.wo) * p.strideX - p.left + (tap - r * p.s) * p.dilationX + whole(offset[at + p.ho * p.wo], fx);
  return placed(y, x, fy, fx);
}

// modulation is the mask there. Without one some element is loaded and not used.
double modulation(int image, int q, int tap, int pixel) {
  int at = ((image * p.offsetGroups + q) * p.r * p.s + tap) * p.ho * p.wo + pixel;
  return mix(1.0lf, mask[mix(0, at, has(MASKED))], has(MASKED));
}
