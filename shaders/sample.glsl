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
// NaN offset makes all weights NaN; infinite and huge ones lie outside.
Place place(int y, int x, float dy, float dx) {
  // Tested by bits: compilers may assume that floats are numbers.
  bool nan = (floatBitsToUint(dy) & 0x7fffffffu) > 0x7f800000u || (floatBitsToUint(dx) & 0x7fffffffu) > 0x7f800000u;
  dy = nan ? 0.0 : clamp(dy, -farAway, farAway);
  dx = nan ? 0.0 : clamp(dx, -farAway, farAway);
  float fy = floor(dy), fx = floor(dx);
  y += int(fy);
  x += int(fx);
  fy = dy - fy;
  fx = dx - fx;
  // At exactly -1 torchvision does not sample: row 0 must not enter with weight 0, it may hold an infinity.
  bool y0 = y >= 0 && y < p.h, y1 = y >= -1 && y < p.h - 1 && (y >= 0 || fy > 0.0);
  bool x0 = x >= 0 && x < p.w, x1 = x >= -1 && x < p.w - 1 && (x >= 0 || fx > 0.0);
  // Wrapped products of far positions are not selected.
  int row = y * p.w + x;
  Place here;
  here.at = ivec4(y0 && x0 ? row : -1, y0 && x1 ? row + 1 : -1, y1 && x0 ? row + p.w : -1, y1 && x1 ? row + p.w + 1 : -1);
  vec2 wy = vec2(1.0 - fy, fy), wx = vec2(1.0 - fx, fx);
  vec4 weight = vec4(wy.x * wx.x, wy.x * wx.y, wy.y * wx.x, wy.y * wx.y);
  here.weight = nan ? vec4(uintBitsToFloat(0x7fc00000u)) : weight;
  return here;
}
