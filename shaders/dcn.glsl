// What the kernels of DCNv3 (Wang et al. 2022) and DCNv4 (Xiong et al. 2024)
// share: the problem, and where points sample. The two differ in where a channel
// lies in the offset and mask tensors, which the host says, and in nothing else.
#extension GL_EXT_control_flow_attributes : require

#include "real.glsl"

layout(push_constant) uniform Push {
  int   items;                             // invocations with work
  int   first;                             // image of the first item
  int   c, h, w, ho, wo;                   // input and output
  int   groups, cg;                        // groups, channels of one
  int   r, points, center;                 // rows of points, points, the one left out (past the last if none)
  int   strideY, strideX, dilationY, dilationX;
  int   top, left;                         // padding, less the distance to the kernel's middle
  int   cy, cx;                            // that distance
  float scale;
  int   offsetChannels, offsetGroup;       // channels of the offset tensor: all, from group to group
  int   maskChannels, maskGroup, maskFirst; // the same of the mask tensor; where masks begin in a group
  int   maskImage;                         // its first image
} p;

layout(constant_id = 1) const uint softmax = 0; // masks are raw

const real farAway = 1073741824.0; // 2^30: every base is within ±2^29 (the host checks)

// itemIndex is this invocation's place among all: dispatches beyond 65,535
// workgroups are folded over x and y.
int itemIndex() {
  return int((gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
}

struct Point {
  int y, x;     // pixel above and left
  real fy, fx; // fractions
  bool nan;
  bool border;  // exactly at −1: the sample is 0 even where the pixel at 0 is infinite
};

// displacement is (k + delta)·scale without the whole k where scale is 1. Its
// roundings are part of the definition, so that every device finds the same pixels.
real displacement(int k, real delta) {
  precise real sum = real(k) + delta;
  precise real product = sum * p.scale;
  real d = mix(product, delta, p.scale == 1.0);
  return mix(clamp(d, -farAway, farAway), 0.0, isNaN(d));
}

// pointAt places point t of an output pixel; first is the element that holds
// its Δx, Δy is one plane further on.
Point pointAt(int t, int oy, int ox, real dx, real dy) {
  int i = t + int(t >= p.center);
  int s = i / p.r;
  int kx = s * p.dilationX - p.cx, ky = (i - s * p.r) * p.dilationY - p.cy;
  real x = displacement(kx, dx), y = displacement(ky, dy);
  real floorX = floor(x), floorY = floor(y);
  int whole = int(p.scale == 1.0);
  Point at;
  at.nan = any(bvec2(isNaN(dx), isNaN(dy)));
  at.x = ox * p.strideX - p.left + int(floorX) + whole * kx;
  at.y = oy * p.strideY - p.top + int(floorY) + whole * ky;
  at.border = all(bvec2(!at.nan, any(bvec2(all(bvec2(at.x == -1, x == floorX)), all(bvec2(at.y == -1, y == floorY))))));
  at.fx = mix(x - floorX, nan(), at.nan);
  at.fy = mix(y - floorY, nan(), at.nan);
  return at;
}

// offsetOf is the element that holds Δx of point t of group g of image n.
int offsetOf(int n, int g, int t, int pixel) {
  return (n * p.offsetChannels + g * p.offsetGroup + 2 * t) * p.ho * p.wo + pixel;
}

int maskOf(int n, int g, int t, int pixel) {
  return ((n - p.maskImage) * p.maskChannels + g * p.maskGroup + p.maskFirst + t) * p.ho * p.wo + pixel;
}

// corners returns the four neighbours' places in a plane, row above first, −1 outside.
ivec4 corners(Point at) {
  ivec4 y = ivec4(at.y, at.y, at.y + 1, at.y + 1), x = ivec4(at.x, at.x + 1, at.x, at.x + 1);
  // Unsigned: negative ones are large. Products that wrap are not selected.
  ivec4 inside = ivec4(lessThan(uvec4(y), uvec4(p.h))) * ivec4(lessThan(uvec4(x), uvec4(p.w)));
  return mix(ivec4(-1), y * p.w + x, equal(inside, ivec4(1)));
}
