#version 450
// Ordinary convolution, input channels and taps walked in order by every
// invocation for its register tile; nothing shared, no barriers.
//
// TAPS = 1: the TN outputs of an invocation are taken from the flattened output
// images, LocalSize apart, and every tap loads its own TN values.
//
// TAPS > 1: the kernel is TAPS wide, and the TN outputs lie in one row,
// stepX = dilation/gcd(dilation, stride) apart, so that neighbouring taps and
// neighbouring outputs meet in the same inputs at any dilation:
//
//   dilation 2, stride 1:  outputs   0 . 1 . 2 . 3
//                          tap 0     0 . 1 . 2 . 3          inputs, in units
//                          tap 1         1 . 2 . 3 . 4      of the dilation
//                          tap 2             2 . 3 . 4 . 5
//
// TN·TAPS products for (TN−1)·ESTEP+TAPS loads, ESTEP = stride/gcd.
//
// CHANNELS input channels are taken in one step of the loop: going round it
// costs, as every accumulator is carried from step to step (on lavapipe some 2.5
// cycles each, as much as two products). The packed weights are filled up with
// zeros to whole steps.
//
//variant conv2d_m8n4          TM=8  TN=4 TAPS=1 ESTEP=1 LANES=1 CHANNELS=1 MODES
//variant conv2d_m4n4          TM=4  TN=4 TAPS=1 ESTEP=1 LANES=1 CHANNELS=1 MODES
//variant conv2d_l8_m8n4       TM=8  TN=4 TAPS=1 ESTEP=1 LANES=8 CHANNELS=2 MODES
//variant conv2d_l8_m32n4      TM=32 TN=4 TAPS=1 ESTEP=1 LANES=8 CHANNELS=4 MODES
//variant conv2d_l8_m32n4s3    TM=32 TN=4 TAPS=3 ESTEP=1 LANES=8 CHANNELS=1
//variant conv2d_l8_m32n4s7e2  TM=32 TN=4 TAPS=7 ESTEP=2 LANES=8 CHANNELS=1
//variant conv2d_l4_m8n8       TM=8  TN=8 TAPS=1 ESTEP=1 LANES=4 CHANNELS=1 BROADCAST MODES
//variant conv2d_l4_m16n8      TM=16 TN=8 TAPS=1 ESTEP=1 LANES=4 CHANNELS=2 BROADCAST MODES
//variant conv2d_l4_m16n8s3    TM=16 TN=8 TAPS=3 ESTEP=1 LANES=4 CHANNELS=2 BROADCAST
//variant conv2d_l4_m16n7s3    TM=16 TN=7 TAPS=3 ESTEP=1 LANES=4 CHANNELS=2 BROADCAST
//variant conv2d_l4_m16n4s7e2  TM=16 TN=4 TAPS=7 ESTEP=2 LANES=4 CHANNELS=1 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define VALUES ((TN - 1) * ESTEP + TAPS)

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#include "problem.glsl"
#include "tile.glsl"
#include "store.glsl"

int at[VALUES];    // where a value is loaded from; some valid element where it isn't
bool inside[VALUES];

// loadValues loads the values of one input channel and moves on to the next; a
// channel that does not exist is all zeros.
void loadValues(int plane, bool exists) {
  UNROLL for (int j = 0; j < VALUES; j++) {
    // Selected, not multiplied by 0: the element may be an infinity.
    float v = x[mix(0, at[j], exists)];
    value[j] = mix(0.0, v, all(bvec2(inside[j], exists)));
    at[j] += plane;
  }
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kb = int(tile % uint(p.blocks));
  int item = int(tile / uint(p.blocks)) * int(gl_WorkGroupSize.x);
  int cg = p.cg, plane = p.h * p.w, pixels = p.ho * p.wo;
  int firstChannel = kb / p.groupBlocks * cg;
  int steps = (cg + CHANNELS - 1) / CHANNELS;
  int wAt = kb * p.r * p.s * steps * CHANNELS * TM;
  clearTile();
#if TAPS > 1
  item += int(gl_LocalInvocationID.x);
  bool exists = item < p.items;
  item = min(item, p.items - 1);
  int row = item / p.rowItems, inRow = item - row * p.rowItems;
  int n = row / p.ho, oy = row - n * p.ho;
  int ox = inRow / p.stepX;
  ox = ox * TN * p.stepX + (inRow - ox * p.stepX);
  int image = p.firstX + (n * p.c + firstChannel) * plane;
  int ix0 = ox * p.strideX - p.left;
  for (int r = 0; r < p.r; r++) {
    int iy = mapPad(oy * p.strideY - p.top + r * p.dilationY, p.h);
    UNROLL for (int j = 0; j < VALUES; j++) {
      int ix = mapPad(ix0 + j * p.unitX, p.w);
      inside[j] = min(iy, ix) >= 0;
      at[j] = image + mix(0, iy * p.w + ix, inside[j]);
    }
    // A row that lies in the padding for the whole subgroup is skipped. The
    // empty loop is what skips: drivers that mask lanes run both sides of an if.
    int end = mix(0, cg, ANY(iy >= 0));
    for (int c = 0; c < end; c += CHANNELS) {
      UNROLL for (int i = 0; i < CHANNELS; i++) {
        loadValues(plane, i == 0 || c + i < cg);
        UNROLL for (int s = 0; s < TAPS; s++) multiplyTile(wAt + ((c + i) * TAPS + s) * TM, s);
      }
    }
    wAt += steps * CHANNELS * TAPS * TM;
  }
  UNROLL for (int t = 0; t < TN; t++) {
    int o = ox + t * p.stepX;
    if (exists && o < p.wo) storePixel(t, kb, p.firstY + n * p.k * pixels + oy * p.wo + o);
  }
#else
  item = item * TN + int(gl_LocalInvocationID.x);
  int image[TN], iy0[TN], ix0[TN];
  UNROLL for (int t = 0; t < TN; t++) {
    int i = min(item + t * int(gl_WorkGroupSize.x), p.items - 1);
    int n = i / pixels, oy = i - n * pixels, ox = oy;
    oy /= p.wo;
    ox -= oy * p.wo;
    image[t] = p.firstX + (n * p.c + firstChannel) * plane;
    iy0[t] = oy * p.strideY - p.top;
    ix0[t] = ox * p.strideX - p.left;
  }
  for (int r = 0; r < p.r; r++) {
    for (int s = 0; s < p.s; s++) {
      bool any = false;
      UNROLL for (int t = 0; t < TN; t++) {
        int iy = mapPad(iy0[t] + r * p.dilationY, p.h), ix = mapPad(ix0[t] + s * p.dilationX, p.w);
        inside[t] = min(iy, ix) >= 0;
        at[t] = image[t] + mix(0, iy * p.w + ix, inside[t]);
        any = any || inside[t];
      }
      int end = mix(0, cg, ANY(any)); // as above, for a tap
      for (int c = 0; c < end; c += CHANNELS) {
        UNROLL for (int i = 0; i < CHANNELS; i++) {
          loadValues(plane, i == 0 || c + i < cg);
          multiplyTile(wAt + (c + i) * TM, 0);
        }
      }
      wAt += steps * CHANNELS * TM;
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    int i = item + t * int(gl_WorkGroupSize.x), n = i / pixels;
    if (i < p.items) storePixel(t, kb, p.firstY + n * p.k * pixels + i - n * pixels);
  }
#endif
}
