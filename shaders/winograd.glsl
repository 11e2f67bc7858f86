// Winograd's algorithm for 3×3 kernels of stride 1, F(MADE×MADE, 3×3): MADE×MADE
// outputs are made of ALPHA×ALPHA inputs, ALPHA = MADE + 2, with one product for
// each of those and channel instead of nine an output,
//
//   y = Aᵀ [ Σ_c (G g Gᵀ) ∘ (Bᵀ d B) ] A
//
// (Winograd 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", CVPR 2016; the matrices are those of conv.Winograd). Three passes:
// this file's inputs to V = Bᵀ d B, ALPHA² products of matrices by pointwise.comp
// as groups of one 1×1 convolution, and their sums to outputs.
//
// A dilated convolution is a dense one on each of the interleaved grids of
// pixels, so tiles take every stepY-th row and stepX-th column and no pixel moves:
//
//   d = 2, MADE = 2:  columns  0 1 2 3 4 5 6 7      a a' are tile a's outputs,
//                     tiles    a b a' b' c d c' d'  b begins on the other grid
#extension GL_EXT_control_flow_attributes : require
#define UNROLL [[unroll]]
#define ALPHA (MADE + 2)

layout(push_constant) uniform Push {
  uint tiles;          // workgroups with work; the dispatch may hold a few more
  int  items;          // tiles of outputs, of all images
  int  firstItem;      // the part of them that is worked on starts here
  int  room;           // and has so many, some of which may not exist
  int  channels;       // of the convolution, those that this pass goes over
  int  share;          // channels of an invocation
  int  c, h, w;        // input; c are the channels of the tensor it lies in
  int  k, ho, wo;      // output; k likewise
  int  top, left;      // padding
  int  mode;           // conv.PaddingMode
  int  firstX, firstY; // elements before the input and the output
  int  rowItems, columnItems; // tiles along an output row, a column
  int  stepY, stepX;   // the dilation: outputs and inputs of a tile are this far apart
  float low, high;     // the activation's parameters
} p;

uint tileIndex() { return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x; }

// Place is a tile's image and first output.
struct Place { int n, y, x; };

Place placeOf(int item) {
  int line = item / p.rowItems, inRow = item - line * p.rowItems;
  Place at;
  at.n = line / p.columnItems;
  int inColumn = line - at.n * p.columnItems, y = inColumn / p.stepY, x = inRow / p.stepX;
  at.y = y * MADE * p.stepY + (inColumn - y * p.stepY);
  at.x = x * MADE * p.stepX + (inRow - x * p.stepX);
  return at;
}

float d[ALPHA * ALPHA];

// axisIn replaces the ALPHA values from at on, step apart, by Bᵀ times them.
void axisIn(int at, int step) {
#if MADE == 2
  float d0 = d[at], d1 = d[at + step], d2 = d[at + 2 * step], d3 = d[at + 3 * step];
  d[at] = d0 - d2;
  d[at + step] = d1 + d2;
  d[at + 2 * step] = d2 - d1;
  d[at + 3 * step] = d1 - d3;
#else
  float d0 = d[at], d1 = d[at + step], d2 = d[at + 2 * step], d3 = d[at + 3 * step], d4 = d[at + 4 * step], d5 = d[at + 5 * step];
  float even = d4 - 4.0 * d2, odd = d3 - 4.0 * d1, evens = d4 - d2, odds = 2.0 * (d3 - d1);
  d[at] = 4.0 * d0 - 5.0 * d2 + d4;
  d[at + step] = even + odd;
  d[at + 2 * step] = even - odd;
  d[at + 3 * step] = evens + odds;
  d[at + 4 * step] = evens - odds;
  d[at + 5 * step] = 4.0 * d1 - 5.0 * d3 + d5;
#endif
}

// axisOut replaces the first MADE of them by Aᵀ times them all.
void axisOut(int at, int step) {
#if MADE == 2
  float m0 = d[at], m1 = d[at + step], m2 = d[at + 2 * step], m3 = d[at + 3 * step];
  d[at] = m0 + m1 + m2;
  d[at + step] = m1 - m2 - m3;
#else
  float m0 = d[at], m5 = d[at + 5 * step];
  float a = d[at + step] + d[at + 2 * step], b = d[at + step] - d[at + 2 * step];
  float e = d[at + 3 * step] + d[at + 4 * step], f = d[at + 3 * step] - d[at + 4 * step];
  d[at] = m0 + a + e;
  d[at + step] = b + 2.0 * f;
  d[at + 2 * step] = a + 4.0 * e;
  d[at + 3 * step] = b + 8.0 * f + m5;
#endif
}
