#version 450
// Gradient by the weight of a deformable convolution, without a column buffer:
// the samples go straight into the register tile, as in deform.comp, with dy as
// the other factor,
//
//   dweight[k, c, t] = Σ_{n,pixel} dy[n,k,pixel] · mask · X_c(place of t)
//
// An invocation takes one tap of TN channels that share an offset group, so
// that a place serves TN samples. Rows of dy are dealt to parts as in
// conv2d_grad_weight.comp.
//
//variant deform_grad_weight_m8n4      TM=8  TN=4 LANES=1
//variant deform_grad_weight_l8_m8n4   TM=8  TN=4 LANES=8
//variant deform_grad_weight_l8_m32n4  TM=32 TN=4 LANES=8
//variant deform_grad_weight_m32n2     TM=32 TN=2 LANES=1
//variant deform_grad_weight_l4_m8n4   TM=8  TN=4 LANES=4 BROADCAST
//variant deform_grad_weight_l4_m32n4  TM=32 TN=4 LANES=4 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define SPLIT
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 4) writeonly buffer PartBuffer { float dw[]; };

#define FACTOR dy
#include "grad.glsl"
#include "grad_tile.glsl"
#include "grad_place.glsl"

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int kb = int(tile % uint(p.blocks)), rest = int(tile / uint(p.blocks));
  int part = rest / p.rowItems, unit = (rest - part * p.rowItems) * LOCAL + LOCAL_ID;
  int g = kb / p.groupBlocks, k0 = (kb - g * p.groupBlocks) * TM;
  int taps = p.r * p.s, plane = p.h * p.w, outPlane = p.ho * p.wo;
  int last = min(TM, p.kg - k0) - 1;
  // unit → tap, channels from c0 on to the end of their run. p.run channels lie
  // in one weight group and in one offset group.
  int runBlocks = (p.run + TN - 1) / TN, units = p.cg / p.run * runBlocks * taps;
  bool exists = unit < units;
  unit = min(unit, units - 1);
  int channelBlock = unit / taps, tap = unit - channelBlock * taps;
  int run = channelBlock / runBlocks, inRun = (channelBlock - run * runBlocks) * TN;
  int c0 = run * p.run + inRun, channels = min(TN, p.run - inRun);
  int q = (g * p.cg + c0) / p.offsetChannels;
  clearTile();
  int end = min((part + 1) * p.share, p.items);
  for (int i = part * p.share; i < end; i++) { // rows of dy
    int n = i / p.ho, oy = i - n * p.ho;
    int from = ((n * p.k + g * p.kg + k0) * p.ho + oy) * p.wo;
    int image = (n * p.c + g * p.cg + c0) * plane;
    for (int ox = 0; ox < p.wo; ox++) {
      int pixel = oy * p.wo + ox;
      Place here = PLACE(n, q, tap, pixel);
      bvec4 counts = sampled(here);
      vec4 share = sampleWeights(here) * MODULATION(n, q, tap, pixel);
      ivec4 corners = image + ivec4(corner(here, 0), corner(here, 1), corner(here, 2), corner(here, 3));
      UNROLL for (int t = 0; t < TN; t++) {
        ivec4 at = corners + min(t, channels - 1) * plane;
        vec4 v = mix(vec4(0), vec4(x[at.x], x[at.y], x[at.z], x[at.w]), counts);
        value[t] = share.x * v.x + share.y * v.y + share.z * v.z + share.w * v.w;
      }
      multiplyTile(from + ox, outPlane, last);
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    UNROLL for (int m = 0; m < TM; m++) {
      if (exists && t < channels && m <= last) dw[((part * p.k + g * p.kg + k0 + m) * p.cg + c0 + t) * taps + tap] = acc[m * TN + t];
    }
  }
}
