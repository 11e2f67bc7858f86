// Where a deformable convolution samples, as cpuref.PlaceAt has it: the whole
// part base + ⌊Δ⌋ in integers, the fraction Δ − ⌊Δ⌋.

const float farAway = 1073741824.0; // 2^30: every base is within ±2^29 (the plan checks)

struct Place {
  int at;              // element of the neighbour above and left, in its plane
  ivec2 next;          // from there to the neighbours right and below
  bvec4 inside;        // the four neighbours, row above first
  int cell;            // of the (h+1)×(w+1) cells between pixels, the first one above and left of pixel (0, 0); -1 outside
  float fy, fx;        // fractions, NaN where the offset is
  bool faded;          // exactly at −1, where the sample is 0 but its slope is not
};

// whole returns ⌊delta⌋, the fraction in f. NaN: 0 and NaN, found by its bits,
// since compilers may assume that floats are numbers.
int whole(float delta, out float f) {
  bool nan = (floatBitsToUint(delta) & 0x7fffffffu) > 0x7f800000u;
  float d = mix(clamp(delta, -farAway, farAway), 0.0, nan), below = floor(d);
  f = mix(d - below, uintBitsToFloat(0x7fc00000u), nan);
  return int(below);
}

Place place(int y, int x, float dy, float dx) {
  Place here;
  y += whole(dy, here.fy);
  x += whole(dx, here.fx);
  bool y0 = uint(y) < uint(p.h), y1 = uint(y + 1) < uint(p.h);
  bool x0 = uint(x) < uint(p.w), x1 = uint(x + 1) < uint(p.w);
  // all() and mix(), where && and ?: would become branches
  here.inside = bvec4(all(bvec2(y0, x0)), all(bvec2(y0, x1)), all(bvec2(y1, x0)), all(bvec2(y1, x1)));
  bool cell = all(bvec2(uint(y + 1) <= uint(p.h), uint(x + 1) <= uint(p.w)));
  // conv.BorderCut: nothing is sampled outside the image, and the last row and
  // column are repeated once.
  bool cut = p.border == 1;
  here.inside = mix(here.inside, bvec4(here.inside.x), bvec4(cut));
  cell = mix(cell, here.inside.x, cut);
  here.next = mix(ivec2(1, p.w), ivec2(0), bvec2(all(bvec2(cut, x == p.w - 1)), all(bvec2(cut, y == p.h - 1))));
  here.cell = mix(-1, (y + 1) * (p.w + 1) + x + 1, cell);
  here.faded = any(bvec2(all(bvec2(y == -1, here.fy == 0.0)), all(bvec2(x == -1, here.fx == 0.0))));
  here.at = y * p.w + x; // may wrap around, and is not used then
  return here;
}

// corner is the element of neighbour i, 0 where it lies outside.
int corner(Place here, int i) {
  return mix(0, here.at + (i & 1) * here.next.x + (i >> 1) * here.next.y, here.inside[i]);
}

vec4 weights(Place here) {
  vec2 wy = vec2(1.0 - here.fy, here.fy), wx = vec2(1.0 - here.fx, here.fx);
  return vec4(wy.x * wx.x, wy.x * wx.y, wy.y * wx.x, wy.y * wx.y);
}

// sampleWeights and sampled are weights and inside for the sample itself, to
// which not even an infinite pixel contributes where it has faded.
vec4 sampleWeights(Place here) { return mix(weights(here), vec4(0), bvec4(here.faded)); }
bvec4 sampled(Place here) { return mix(here.inside, bvec4(false), bvec4(here.faded)); }

// offsetAt is the element of Δy of a tap of an offset group, for an output
// pixel; that of Δx is ho·wo further on.
int offsetAt(int image, int q, int tap, int pixel) {
  return ((image * p.offsetGroups + q) * p.r * p.s + tap) * 2 * p.ho * p.wo + pixel;
}

// modulation is the mask there. Without one some element is loaded and not used.
#define MODULATION(image, q, tap, pixel) \
  mix(1.0, mask[mix(0, ((image * p.offsetGroups + q) * p.r * p.s + tap) * p.ho * p.wo + pixel, p.masked != 0)], p.masked != 0)

// PLACE is where the tap samples for an output pixel.
#define PLACE(image, q, tap, pixel) \
  place((pixel) / p.wo * p.strideY - p.top + (tap) / p.s * p.dilationY, (pixel) % p.wo * p.strideX - p.left + (tap) % p.s * p.dilationX, \
    offset[offsetAt(image, q, tap, pixel)], offset[offsetAt(image, q, tap, pixel) + p.ho * p.wo])
