// What the kernels of deformable RoI pooling (Dai et al. 2017) share: the
// problem, and where a bin samples. Every operation on positions is rounded as
// in the published code, in the same order, so that every device decides alike
// whether a sample counts.

layout(push_constant) uniform Push {
  int   items;                   // invocations with work
  int   n, c, h, w;              // input
  int   rois, k, ho, wo;         // output
  int   group, classes;
  int   partY, partX;
  int   samples, mostSamples;    // 0 as many as pixels, up to so many
  float scale, gamma;
  int   bands;                   // of a channel's rows, in the gradient by the input
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

// Tested by bits: compilers may assume that floats are finite numbers.
bool isNaN(float v) { return (floatBitsToUint(v) & 0x7fffffffu) > 0x7f800000u; }
bool finite(float v) { return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u; }
float nan() { return uintBitsToFloat(0x7fc00000u); }

// divide is a / n, correctly rounded; n is whole, from 1 to 4095. Vulkan lets a
// quotient be 2.5 units in the last place off. The remainder a − q·n is exact:
// each half of q has 12 bits, n has 12, and what is subtracted is close to what
// it is subtracted from. The quotient is never so close to a tie that the
// remainder's own quotient could round it the wrong way.
float divide(float a, float n) {
  precise float q = a / n;
  float high = uintBitsToFloat(floatBitsToUint(q) & 0xfffff000u);
  precise float low = q - high;
  precise float highN = high * n;
  precise float lowN = low * n;
  precise float rest = a - highN;
  precise float remainder = rest - lowN;
  precise float more = remainder / n;
  precise float result = q + more;
  return mix(q, result, finite(q));
}

// halfAway rounds to whole numbers, halves away from zero.
float halfAway(float v) {
  float a = abs(v), whole = floor(a);
  whole += float(a - whole >= 0.5);
  return mix(whole, -whole, v < 0.0);
}

struct Axis {
  float start, step, size; // size: of the region
  int samples;
  int extent;
};

Axis axisOf(float lo, float hi, int extent, int bins, int i, float delta) {
  Axis a;
  a.extent = extent;
  a.samples = p.samples;
#ifdef SENSITIVE
  precise float first = halfAway(lo) * p.scale;
  precise float start = first - 0.5;
  precise float past = halfAway(hi) + 1.0;
  precise float last = past * p.scale;
  precise float end = last - 0.5;
  precise float size = end - start;
  a.size = mix(max(size, 0.1), size, isNaN(size));
  float own = divide(a.size, float(bins));
  a.step = divide(own, float(p.samples));
  precise float before = float(i) * own;
  precise float at = before + start;
  precise float by = delta * p.gamma;
  precise float moved = by * a.size;
  precise float displaced = at + moved;
  a.start = mix(at, displaced, offsets != 0);
#else
  precise float first = lo * p.scale;
  precise float start = first - 0.5;
  precise float last = hi * p.scale;
  precise float end = last - 0.5;
  precise float size = end - start;
  a.size = size;
  a.step = divide(size, float(bins));
  float most = clamp(ceil(mix(0.0, a.step, finite(a.step))), 0.0, float(p.mostSamples));
  a.samples = mix(p.samples, int(most), p.samples == 0);
  precise float unit = p.gamma * size;
  precise float moved = unit * delta;
  precise float displaced = start + moved;
  precise float before = float(i) * a.step;
  precise float at = mix(start, displaced, offsets != 0) + before;
  a.start = at;
#endif
  return a;
}

// One sample along an axis: its pixels, the second's share, whether the
// position moves it (slope) and whether it counts.
struct Sample {
  float at;
  int low, high;
  float share, slope;
  bool inside, nan;
};

Sample sampleOf(Axis a, int i) {
  float v, lo, hi;
#ifdef SENSITIVE
  precise float by = float(i) * a.step;
  precise float at = a.start + by;
  v = at;
  lo = -0.5;
  hi = float(a.extent) - 0.5;
#else
  precise float part = (float(i) + 0.5) * a.step;
  precise float at = a.start + divide(part, float(max(a.samples, 1)));
  v = at;
  lo = -1.0;
  hi = float(a.extent);
#endif
  Sample s;
  s.at = v;
  s.nan = isNaN(v);
  v = mix(v, 0.0, s.nan);
  s.inside = any(bvec2(s.nan, all(bvec2(v >= lo, v <= hi))));
  float most = float(a.extent - 1), near = clamp(v, 0.0, most);
  float whole = floor(near);
  s.low = int(whole);
  s.high = min(s.low + 1, a.extent - 1);
  s.share = near - whole;
  bool moves = all(bvec3(v >= 0.0, v < most, any(bvec2(!sensitive, s.share > 0.0))));
  s.slope = mix(float(moves), nan(), s.nan);
  s.share = mix(s.share, nan(), s.nan);
  return s;
}

// imageOf is the image of a region, −1 for one of no use; finite positions of
// its axes have to be checked besides.
int imageOf(float image, float x1, float y1, float x2, float y2) {
  bool use = all(bvec4(all(bvec4(finite(x1), finite(y1), finite(x2), finite(y2))), finite(image), image > -1.0, image < float(p.n)));
  return mix(-1, int(mix(0.0, image, use)), use);
}

int channelOf(int k, int by, int bx) {
  return (k * p.group + by * p.group / p.ho) * p.group + bx * p.group / p.wo;
}

int partOf(int class_, int by, int bx) {
  return (class_ * p.partY + by * p.partY / p.ho) * p.partX + bx * p.partX / p.wo;
}
