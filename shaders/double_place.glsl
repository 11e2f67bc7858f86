// Where a deformable convolution samples, as cpuref.PlaceAt has it: the whole
// part base + ⌊Δ⌋ in integers, the fraction Δ − ⌊Δ⌋.

const double farAway = 1073741824.0lf; // 2^30: every base is within ±2^29 (the plan checks)

struct Place {
  ivec4 at;            // the four neighbours in their plane, row above first; 0 outside
  bvec4 inside;
  double fy, fx;       // fractions, NaN where the offset is
  bool faded;          // exactly at −1, where the sample is 0 but its slope is not
};

int whole(double delta, out double f) {
  bool nans = isNaN(delta);
  double d = mix(clamp(delta, -farAway, farAway), 0.0lf, nans), below = floor(d);
  f = mix(d - below, nan(), nans);
  return int(below);
}

// placed is where (y + fy, x + fx) lies, y and x whole.
Place placed(int y, int x, double fy, double fx) {
  Place here;
  here.fy = fy;
  here.fx = fx;
  bool y0 = uint(y) < uint(p.h), y1 = uint(y + 1) < uint(p.h);
  bool x0 = uint(x) < uint(p.w), x1 = uint(x + 1) < uint(p.w);
  here.inside = bvec4(all(bvec2(y0, x0)), all(bvec2(y0, x1)), all(bvec2(y1, x0)), all(bvec2(y1, x1)));
  // conv.BorderCut: nothing is sampled outside the image, and the last row and
  // column are repeated once.
  here.inside = mix(here.inside, bvec4(here.inside.x), bvec4(has(CUT)));
  int right = mix(1, 0, all(bvec2(has(CUT), x == p.w - 1))), down = mix(p.w, 0, all(bvec2(has(CUT), y == p.h - 1)));
  int at = y * p.w + x; // may wrap around, and is not used then
  here.at = mix(ivec4(0), ivec4(at, at + right, at + down, at + down + right), here.inside);
  here.faded = any(bvec2(all(bvec2(y == -1, fy == 0.0lf)), all(bvec2(x == -1, fx == 0.0lf))));
  return here;
}

dvec4 weights(Place here) {
  double hy = 1.0lf - here.fy, hx = 1.0lf - here.fx;
  return dvec4(hy * hx, hy * here.fx, here.fy * hx, here.fy * here.fx);
}

// PIXELS are the neighbours' values in the plane of x that starts at an element.
#define PIXELS(here, plane) \
  dvec4(mix(0.0lf, x[(plane) + here.at.x], here.inside.x), mix(0.0lf, x[(plane) + here.at.y], here.inside.y), \
    mix(0.0lf, x[(plane) + here.at.z], here.inside.z), mix(0.0lf, x[(plane) + here.at.w], here.inside.w))

// bilinear is the sample between four values; not even an infinite one
// contributes where it has faded.
double bilinear(Place here, dvec4 v) {
  dvec4 share = weights(here);
  return mix(share.x * v.x + share.y * v.y + share.z * v.z + share.w * v.w, 0.0lf, here.faded);
}
