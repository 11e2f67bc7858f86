// What the kernels of deformable RoI pooling (Dai et al. 2017) share: the
// problem, and where a bin samples. Every operation on positions is rounded as
// in the published code, in the same order, so that every device decides alike
// whether a sample counts.

#include "real.glsl"

layout(push_constant) uniform Push {
  int   items;                   // invocations with work
  int   n, c, h, w;              // input
  int   rois, k, ho, wo;         // output
  int   group, classes;
  int   partY, partX;
  int   samples, mostSamples;    // 0 as many as pixels, up to so many
  float scale, gamma;
  int   bands;                   // of a channel's rows, in the gradient by the input
  int   firstImage, images;      // of the input that is bound
} p;

#ifdef SENSITIVE // position-sensitive
const bool sensitive = true;
#else
const bool sensitive = false;
#endif
layout(constant_id = 2) const uint offsets = 0;
layout(constant_id = 3) const uint masks = 0;

int itemIndex() {
  return int((gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
}

// divide is a / n, correctly rounded; n is whole, from 1 to 4095. Vulkan lets a
// quotient be 2.5 units in the last place off. The remainder a − q·n is exact:
// each half of q has 12 bits (in double precision 26 and 27), n has 12, and what is subtracted is close to what
// it is subtracted from. The quotient is never so close to a tie that the
// remainder's own quotient could round it the wrong way.
real divide(real a, real n) {
  precise real q = a / n;
#ifdef DOUBLE
  uvec2 bits = unpackDouble2x32(q);
  real high = packDouble2x32(uvec2(bits.x & 0xf8000000u, bits.y));
#else
  real high = uintBitsToFloat(floatBitsToUint(q) & 0xfffff000u);
#endif
  precise real low = q - high;
  precise real highN = high * n;
  precise real lowN = low * n;
  precise real rest = a - highN;
  precise real remainder = rest - lowN;
  precise real more = remainder / n;
  precise real result = q + more;
  return mix(q, result, finite(q));
}

// halfAway rounds to whole numbers, halves away from zero.
real halfAway(real v) {
  real a = abs(v), whole = floor(a);
  whole += real(a - whole >= 0.5);
  return mix(whole, -whole, v < 0.0);
}

// LEAST is the published code's least extent of a region.
#ifdef DOUBLE
#define LEAST 0.1lf
#else
#define LEAST 0.1
#endif

struct Axis {
  real start, step, size; // size: of the region
  int samples;
  int extent;
};

Axis axisOf(real lo, real hi, int extent, int bins, int i, real delta) {
  Axis a;
  a.extent = extent;
  a.samples = p.samples;
#ifdef SENSITIVE
  precise real first = halfAway(lo) * p.scale;
  precise real start = first - 0.5;
  precise real past = halfAway(hi) + 1.0;
  precise real last = past * p.scale;
  precise real end = last - 0.5;
  precise real size = end - start;
  a.size = mix(max(size, LEAST), size, isNaN(size));
  real own = divide(a.size, real(bins));
  a.step = divide(own, real(p.samples));
  precise real before = real(i) * own;
  precise real at = before + start;
  precise real by = delta * p.gamma;
  precise real moved = by * a.size;
  precise real displaced = at + moved;
  a.start = mix(at, displaced, offsets != 0);
#else
  precise real first = lo * p.scale;
  precise real start = first - 0.5;
  precise real last = hi * p.scale;
  precise real end = last - 0.5;
  precise real size = end - start;
  a.size = size;
  a.step = divide(size, real(bins));
  real most = clamp(ceil(mix(0.0, a.step, finite(a.step))), 0.0, real(p.mostSamples));
  a.samples = mix(p.samples, int(most), p.samples == 0);
  precise real unit = p.gamma * size;
  precise real moved = unit * delta;
  precise real displaced = start + moved;
  precise real before = real(i) * a.step;
  precise real at = mix(start, displaced, offsets != 0) + before;
  a.start = at;
#endif
  return a;
}

// One sample along an axis: its pixels, the second's share, whether the
// position moves it (slope) and whether it counts.
struct Sample {
  real at;
  int low, high;
  real share, slope;
  bool inside, nan;
};

Sample sampleOf(Axis a, int i) {
  real v, lo, hi;
#ifdef SENSITIVE
  precise real by = real(i) * a.step;
  precise real at = a.start + by;
  v = at;
  lo = -0.5;
  hi = real(a.extent) - 0.5;
#else
  precise real part = (real(i) + 0.5) * a.step;
  precise real at = a.start + divide(part, real(max(a.samples, 1)));
  v = at;
  lo = -1.0;
  hi = real(a.extent);
#endif
  Sample s;
  s.at = v;
  s.nan = isNaN(v);
  v = mix(v, 0.0, s.nan);
  s.inside = any(bvec2(s.nan, all(bvec2(v >= lo, v <= hi))));
  real most = real(a.extent - 1), near = clamp(v, 0.0, most);
  real whole = floor(near);
  s.low = int(whole);
  s.high = min(s.low + 1, a.extent - 1);
  s.share = near - whole;
  bool moves = all(bvec3(v >= 0.0, v < most, any(bvec2(!sensitive, s.share > 0.0))));
  s.slope = mix(real(moves), nan(), s.nan);
  s.share = mix(s.share, nan(), s.nan);
  return s;
}

// imageOf is the image of a region, −1 for one of no use; finite positions of
// its axes have to be checked besides.
int imageOf(real image, real x1, real y1, real x2, real y2) {
  bool use = all(bvec4(all(bvec4(finite(x1), finite(y1), finite(x2), finite(y2))), finite(image), image > -1.0, image < real(p.n)));
  return mix(-1, int(mix(0.0, image, use)), use);
}

// elsewhere tells whether a region's image is one that is not bound.
bool elsewhere(int image) {
  return all(bvec2(image >= 0, uint(image - p.firstImage) >= uint(p.images)));
}

int channelOf(int k, int by, int bx) {
  return (k * p.group + by * p.group / p.ho) * p.group + bx * p.group / p.wo;
}

int partOf(int class_, int by, int bx) {
  return (class_ * p.partY + by * p.partY / p.ho) * p.partX + bx * p.partX / p.wo;
}
