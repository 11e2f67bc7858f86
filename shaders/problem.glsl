// The convolution that a kernel computes: conv.Problem and how it is cut into
// work items, as push constants. The host fills the block by member name.
#extension GL_EXT_control_flow_attributes : require
#define UNROLL [[unroll]]

layout(push_constant) uniform Push {
  uint tiles;          // workgroups with work; the dispatch may hold a few more
  int  items;          // work items of a block of output channels, all images
  int  blocks;         // blocks of output channels, all weight groups
#ifdef STRIP
  int  strip;          // output rows of a work item that walks down
#else
  int  groupBlocks;    // blocks of one weight group
#endif
  int  c, h, w;        // input; c are the channels of the tensor it lies in
  int  k, ho, wo;      // output; k likewise
  int  r, s;           // kernel
  int  cg, kg;         // input and output channels of a weight group
  int  strideY, strideX, dilationY, dilationX;
  int  top, left;      // padding
  int  mode;           // conv.PaddingMode
  int  biasAt;         // where the biases start in the packed weights
  int  firstX, firstY; // elements before the input and the output, where they are channels of wider tensors
  float low, high;     // the activation's parameters
#ifdef DEFORMABLE
  int  offsetChannels; // input channels that share an offset
  int  offsetGroups;
  int  masked;         // 1 for a mask
#endif
#ifdef SPLIT
  int  parts, share;   // workgroups that share a tile, channels of each
#elif !defined(DEFORMABLE)
  int  rowItems;       // work items of one output row, where items lie in rows
  int  columnItems;    // work items of one output column, where they lie in rows and columns
  int  stepY, stepX;   // outputs of one work item are this far apart
  int  unitY, unitX;   // its inputs are this far apart
#endif
} p; // 128 bytes at most, what every device has

// tileIndex is this workgroup's place among all: dispatches beyond 65,535
// workgroups are folded over x and y.
uint tileIndex() {
  return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

// mapPad is conv.MapPad: where a padded axis of n pixels takes its value at i,
// or -1 for a zero. Always below n, whatever i: work items past the last pixel
// also ask.
int mapPad(int i, int n) {
  bool inside = uint(i) < uint(n);
#ifdef MODES
  // mix, not ?: — a selection, where ?: may become branches; SwiftShader's
  // compiler did not come back from those here.
  int outside = mix(mix(i - n, i + n, i < 0), i, p.mode == 2);
  outside = mix(outside, mix(2 * (n - 1) - i, -i, i < 0), p.mode == 1);
  outside = mix(clamp(outside, 0, n - 1), -1, p.mode == 0);
  return mix(outside, i, inside);
#else
  return mix(-1, i, inside);
#endif
}
