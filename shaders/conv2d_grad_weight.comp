#version 450
// Gradient by the weight: a product of dy, K rows, with the inputs that its
// pixels meet, one column for every (channel, tap), summed over all pixels,
//
//   dweight[k, c, r, s] = Σ_{n,oy,ox} dy[n,k,oy,ox] · x[n, c, oy·sy − top + r·dy, ox·sx − left + s·dx]
//
// The rows of dy of all images are dealt to parts of p.share; part i writes the
// i-th partial result, conv2d_grad_reduce.comp adds them up in order.
//
// Without MODES padding is with zeros only.
//
//variant conv2d_grad_weight_m8n4         TM=8  TN=4 LANES=1 MODES
//variant conv2d_grad_weight_l8_m8n4      TM=8  TN=4 LANES=8 MODES
//variant conv2d_grad_weight_l8_m32n4     TM=32 TN=4 LANES=8 MODES
//variant conv2d_grad_weight_l4_m8n8      TM=8  TN=8 LANES=4 BROADCAST MODES
//variant conv2d_grad_weight_l4_m8n8z     TM=8  TN=8 LANES=4 BROADCAST
//variant conv2d_grad_weight_l4_m16n8z    TM=16 TN=8 LANES=4 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define SPLIT

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) writeonly buffer PartBuffer { float dw[]; };

#define FACTOR dy
#include "grad.glsl"
#include "grad_pad.glsl"
#include "grad_tile.glsl"

int offsetY[TN], offsetX[TN]; // of the column's tap
int channel[TN];              // where the column's channel starts in an image
int row[TN];                  // where the input row starts, of any row where there is none
int missing[TN];              // -1 there, else 0

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kb = int(tile % uint(p.blocks)), rest = int(tile / uint(p.blocks));
  int part = rest / p.rowItems, firstColumn = (rest - part * p.rowItems) * LOCAL * TN + LOCAL_ID;
  int g = kb / p.groupBlocks, k0 = (kb - g * p.groupBlocks) * TM;
  int taps = p.r * p.s, columns = p.cg * taps, plane = p.ho * p.wo;
  int last = min(TM, p.kg - k0) - 1;
  clearTile();
  UNROLL for (int t = 0; t < TN; t++) {
    int j = min(firstColumn + t * LOCAL, columns - 1);
    int c = j / taps, tap = j - c * taps, r = tap / p.s;
    offsetY[t] = r * p.dilationY - p.top;
    offsetX[t] = (tap - r * p.s) * p.dilationX - p.left;
    channel[t] = (g * p.cg + c) * p.h * p.w;
  }
  int end = min((part + 1) * p.share, p.items);
  for (int i = part * p.share; i < end; i++) { // rows of dy
    int n = i / p.ho, oy = i - n * p.ho;
    UNROLL for (int t = 0; t < TN; t++) {
      int iy = mapPad(oy * p.strideY + offsetY[t], p.h);
      missing[t] = min(iy, 0);
      row[t] = n * p.c * p.h * p.w + channel[t] + max(iy, 0) * p.w;
    }
    int from = ((n * p.k + g * p.kg + k0) * p.ho + oy) * p.wo;
    for (int ox = 0; ox < p.wo; ox++) {
      UNROLL for (int t = 0; t < TN; t++) {
        int ix = mapPad(ox * p.strideX + offsetX[t], p.w);
        float v = x[row[t] + max(ix, 0)];
        value[t] = mix(0.0, v, min(missing[t], ix) >= 0);
      }
      multiplyTile(from + ox, plane, last);
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    int j = firstColumn + t * LOCAL;
    UNROLL for (int m = 0; m < TM; m++) {
      if (j < columns && m <= last) dw[(part * p.k + g * p.kg + k0 + m) * columns + j] = acc[m * TN + t];
    }
  }
}
