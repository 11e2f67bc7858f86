// A bin of a region, from the buffers. Needs roipool.glsl, RegionBuffer,
// OffsetBuffer and MaskBuffer.

struct Bin {
  int image; // −1: the region is of no use
  Axis y, x;
  real mask;
};

Bin binOf(int r, int k, int by, int bx) {
  int class_ = k / (p.k / p.classes);
  int part = p.partY * p.partX;
  int at = partOf(class_, by, bx);
  // Without offsets or masks any element is loaded and not looked at.
  int first = int(offsets) * (r * 2 * p.classes * part + class_ * part + at);
  real dx = offset[first], dy = offset[first + int(offsets) * part];
  real x1 = roi[5 * r + 1], y1 = roi[5 * r + 2], x2 = roi[5 * r + 3], y2 = roi[5 * r + 4];
  Bin b;
  b.image = imageOf(roi[5 * r], x1, y1, x2, y2);
  b.x = axisOf(x1, x2, p.w, p.wo, bx, dx);
  b.y = axisOf(y1, y2, p.h, p.ho, by, dy);
  b.image = mix(-1, b.image, all(bvec2(finite(b.x.size), finite(b.y.size))));
  b.mask = mix(1.0, mask[int(masks) * (r * p.classes * part + at)], masks != 0);
  return b;
}
