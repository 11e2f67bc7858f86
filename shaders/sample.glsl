// Bilinear sampling for deformable convolution (Dai et al. 2017).
//
// A position is never added up in float32: its whole part is an integer, its
// fraction Δ − ⌊Δ⌋, so large images lose nothing.

const float farAway = 1073741824.0; // 2^30: every base is within ±2^29 (the plan checks)

struct Place {
  ivec4 at;     // the four neighbours in their plane, row above first; -1 outside
  vec4 weight;
};

// place returns the neighbours of (y + dy, x + dx) in an image of p.h × p.w. A
// NaN offset makes all weights NaN, unless the other coordinate is exactly −1,
// where nothing is sampled; infinite and huge ones lie outside.
Place place(int y, int x, float dy, float dx) {
  // Tested by bits: compilers may assume that floats are numbers.
  bool nanY = (floatBitsToUint(dy) & 0x7fffffffu) > 0x7f800000u, nanX = (floatBitsToUint(dx) & 0x7fffffffu) > 0x7f800000u;
  dy = mix(clamp(dy, -farAway, farAway), 0.0, nanY);
  dx = mix(clamp(dx, -farAway, farAway), 0.0, nanX);
  float fy = floor(dy), fx = floor(dx);
  y += int(fy);
  x += int(fx);
  fy = dy - fy;
  fx = dx - fx;
  // At exactly -1 torchvision does not sample: row 0 must not enter with weight 0, it may hold an infinity.
  // As unsigned, what is negative lies beyond the far border too. all() and
  // not &&, which may become a branch.
  bool y0 = uint(y) < uint(p.h), y1 = all(bvec2(uint(y + 1) < uint(p.h), any(bvec2(y >= 0, fy > 0.0))));
  bool x0 = uint(x) < uint(p.w), x1 = all(bvec2(uint(x + 1) < uint(p.w), any(bvec2(x >= 0, fx > 0.0))));
  // conv.BorderCut: nothing outside the image, and beyond the last row or column its value.
  bool cut = p.mode != 0, on = all(bvec2(y0, x0));
  int down = mix(p.w, 0, all(bvec2(cut, y == p.h - 1))), right = mix(1, 0, all(bvec2(cut, x == p.w - 1)));
  // Wrapped products of far positions are not selected.
  int row = y * p.w + x;
  Place here;
  bvec4 counts = bvec4(on, all(bvec2(y0, x1)), all(bvec2(y1, x0)), all(bvec2(y1, x1)));
  here.at = mix(ivec4(-1), ivec4(row, row + right, row + down, row + down + right), mix(counts, bvec4(on), bvec4(cut)));
  vec2 wy = vec2(1.0 - fy, fy), wx = vec2(1.0 - fx, fx);
  vec4 weight = vec4(wy.x * wx.x, wy.x * wx.y, wy.y * wx.x, wy.y * wx.y);
  bool nan = any(bvec2(all(bvec2(nanY, !all(bvec3(!nanX, x == -1, fx == 0.0)))), all(bvec2(nanX, !all(bvec3(!nanY, y == -1, fy == 0.0))))));
  here.weight = mix(weight, vec4(uintBitsToFloat(0x7fc00000u)), bvec4(nan));
  return here;
}
