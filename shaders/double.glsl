// What the kernels in double precision share: the convolution, as push constants
// that the host fills by name, and double precision's helpers. They are for
// checking: an invocation computes an element, or owns a row or a plane that it
// adds to, by the formula, in an order that the problem alone decides.
//
// Long sums are cut into several dispatches, since devices stop invocations that
// run too long and llvmpipe ends loops: each adds terms [from, to) to what is there. So do pieces of problems beyond a
// binding.

#define DOUBLE
#include "real.glsl"

layout(push_constant) uniform Push {
  uint tiles;          // workgroups with work; the dispatch may hold a few more
  int  items;          // invocations with work
  int  c, h, w;        // x and dx
  int  k, ho, wo;      // y and dy
  int  r, s;           // kernel
  int  cg, kg;         // channels of x and of y in a weight group
  int  strideY, strideX, dilationY, dilationX;
  int  top, left;      // padding
  int  mode;           // conv.PaddingMode
  int  offsetGroups;
  int  offsetChannels; // channels of x that share an offset
  int  from, to;       // terms of this dispatch
  int  flags;          // see below
  float low, high;     // the activation's parameters
  int  cx, cy;         // channels of the tensors that x and y lie in
  int  firstX, firstY; // elements before them
} p;

const int LAST = 1;    // behind this dispatch the sum is whole
const int BIASED = 2;  // a bias is added
const int MASKED = 4;
const int CUT = 8;     // conv.BorderCut
const int OFFSETS = 16, MASKS = 32; // which gradients are wanted
const int GOES_ON = 64; // there were terms before these, of other pieces

bool has(int flag) { return (p.flags & flag) != 0; }

// starts tells whether nothing is there yet that terms are added to.
bool starts() { return all(bvec2(p.from == 0, !has(GOES_ON))); }

// itemIndex is this invocation's place among all.
int itemIndex() {
  uint tile = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
  return tile < p.tiles ? int(tile * gl_WorkGroupSize.x + gl_LocalInvocationID.x) : p.items;
}

// mapPad is conv.MapPad.
int mapPad(int i, int n) {
  int outside = mix(mix(i - n, i + n, i < 0), i, p.mode == 2);
  outside = mix(outside, mix(2 * (n - 1) - i, -i, i < 0), p.mode == 1);
  outside = mix(clamp(outside, 0, n - 1), -1, p.mode == 0);
  return mix(outside, i, uint(i) < uint(n));
}
