// What the gradient shaders share: the convolution they differentiate, as push
// constants that the host fills by name, and the padding.
//
// None of them uses a float atomic: every element of a result, or of a partial
// result, belongs to one invocation, which adds up in an order that the problem
// alone decides. So the same call gives the same bits.
#extension GL_EXT_control_flow_attributes : require
#define UNROLL [[unroll]]

layout(push_constant) uniform Push {
  uint tiles;          // workgroups with work; the dispatch may hold a few more
  int  items;          // work items, see each shader
  int  blocks;         // blocks of TM rows of the result, all groups
  int  groupBlocks;    // blocks of one group
  int  c, h, w;        // x and dx
  int  k, ho, wo;      // dy
  int  r, s;           // kernel
  int  cg, kg;         // channels of x and of dy in a weight group
  int  strideY, strideX, dilationY, dilationX;
  int  top, left;      // padding
  int  mode;           // conv.PaddingMode
#ifdef INPUT_GRADIENT
  int  bottom;
  int  imagesY, imagesX; // how many padded places a pixel may be repeated at, see preimage
  int  biased;           // 1 where a bias is added
  float low, high;       // the activation's parameters
#endif
#ifdef SPLIT
  int  rowItems;       // column blocks of the result's row
  int  share;          // of the items that are summed over, those of one part
#endif
#ifdef STRIPS
  int  columnItems;    // strips on top of each other
  int  rows;           // of a strip
  int  stepY, stepX;   // outputs of a strip are this far apart
#endif
#ifdef DEFORMABLE
  int  offsetGroups;
  int  offsetChannels; // input channels that share an offset
  int  masked;         // 1 for a mask
  int  border;         // conv.Border
  int  wants;          // 1 doffset, 2 dmask
  int  firstImage;     // the part of dy that is worked on: pixels of images
  int  firstPixel, pixels;
  int  run;            // channels that share both an offset and a weight group
#endif
} p;

// tileIndex is this workgroup's place among all: dispatches beyond 65,535
// workgroups are folded over x and y.
uint tileIndex() {
  return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

#define LOCAL int(gl_WorkGroupSize.x)
#define LOCAL_ID int(gl_LocalInvocationID.x)
