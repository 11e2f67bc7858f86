#version 450
// Convolution as a product of matrices that share tiles in a workgroup, for
// devices with fast shared memory: output channels × outputs, summed over
// (tap, input channel). The matrix of inputs is never stored, its tile is
// gathered on the way:
//
//                           outputs → COLUMNS
//                          ┌────────────┐
//           DEPTH channels │ values     │   gathered: padding or bilinear samples
//           of a tap       └────────────┘
//          ┌──────┐        ┌────────────┐
//    ROWS  │weight│        │ invocation:│
//  channels│      │        │ TM × TN    │   registers
//          └──────┘        └────────────┘
//
// An invocation always loads for the same output, so that it works out
// addresses, and in the deformable kernel sampling positions, once a tap (and
// offset group) and not once a channel.
//
// Tiles are held twice. While one is multiplied the loads of the next are under
// way to registers, and one barrier a step is enough:
//
//    step k:    load k+1 → registers   multiply tile k&1   registers → tile (k+1)&1   barrier
//
// Both tiles are read by fours, neighbouring invocations side by side or all the
// same, and written in order of invocations: no two rows meet in a bank, so rows
// are not padded. A product of 8 × 8 takes 4 loads of shared memory for 64 fma.
//
// A tap that meets only padding in all of the workgroup's outputs is skipped: at
// the start every column marks the taps it needs.
//
// SPLIT: where there are too few tiles for the device, several workgroups share
// one, each some of the channels, and write what they sum as it is; split_sum.comp
// adds that up in order.
//
//variant shared_conv_32x32      ROWS=32  COLUMNS=32  TM=4 TN=4 DEPTH=16 MODES
//variant shared_conv_64x64      ROWS=64  COLUMNS=64  TM=4 TN=4 DEPTH=16 MODES
//variant shared_conv_64x64m8    ROWS=64  COLUMNS=64  TM=8 TN=8 DEPTH=8  MODES
//variant shared_conv_64x128     ROWS=64  COLUMNS=128 TM=8 TN=8 DEPTH=8  MODES
//variant shared_conv_128x64     ROWS=128 COLUMNS=64  TM=8 TN=8 DEPTH=8  MODES
//variant shared_conv_128x128    ROWS=128 COLUMNS=128 TM=8 TN=8 DEPTH=8  MODES
//variant shared_deform_32x32    ROWS=32  COLUMNS=32  TM=4 TN=4 DEPTH=16 DEFORM
//variant shared_deform_64x64    ROWS=64  COLUMNS=64  TM=4 TN=4 DEPTH=16 DEFORM
//variant shared_deform_128x64   ROWS=128 COLUMNS=64  TM=8 TN=8 DEPTH=8  DEFORM
//variant shared_deform_256x64   ROWS=256 COLUMNS=64  TM=8 TN=8 DEPTH=8  DEFORM
//variant split_conv_32x32       ROWS=32  COLUMNS=32  TM=4 TN=4 DEPTH=16 SPLIT MODES
//variant split_conv_64x64       ROWS=64  COLUMNS=64  TM=8 TN=8 DEPTH=8  SPLIT MODES
//variant split_deform_32x32     ROWS=32  COLUMNS=32  TM=4 TN=4 DEPTH=16 SPLIT DEFORM
//variant split_deform_64x64     ROWS=64  COLUMNS=64  TM=4 TN=4 DEPTH=16 SPLIT DEFORM
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(constant_id = 2) const int whole = 0; // 1: every step has DEPTH channels, which need not be checked
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer WeightBuffer { vec4 wt[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };

#ifdef DEFORM
#define DEFORMABLE
#endif
#include "problem.glsl"
#ifndef SPLIT
#include "finish.glsl"
#endif
#ifdef DEFORM
layout(binding = 3) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 4) readonly buffer MaskBuffer { float mask[]; };
#include "sample.glsl"
#endif

#define ACROSS (COLUMNS / TN)          // invocations side by side
#define THREADS (ROWS / TM * ACROSS)   // the workgroup's size, which the host sets
#define EVERY (THREADS / COLUMNS)      // invocations that load for the same output
#define VALUES (DEPTH / EVERY)         // values that one loads a step
#define WEIGHTS (DEPTH * ROWS / 4 / THREADS)

shared vec4 values[2 * DEPTH * COLUMNS / 4];
shared vec4 weights[2 * DEPTH * ROWS / 4];

float value[VALUES]; // the next step's, on the way
vec4 weight[WEIGHTS];
vec4 acc[TM * TN / 4];

int tid, column, above; // what this invocation loads: output column, channels above, above + EVERY, …
int n, pixel;           // image and place of that output
int iy0, ix0;           // input position of its tap (0, 0)
int image;              // element of the group's first channel
int from, to;           // the channels of the group that are summed
int tap, c, end;        // the step: channels c … end of a tap (and an offset group), DEPTH at a time

#ifdef DEFORM
int q, firstOffset;     // offset group, and the first that this weight group reads
Place here;
float modulation;

// aim works out where the tap samples.
void aim() {
  int pixels = p.ho * p.wo, taps = p.r * p.s, r = tap / p.s;
  int o = (n * p.offsetGroups + q) * taps + tap;
  here = place(iy0 + r * p.dilationY, ix0 + (tap - r * p.s) * p.dilationX, offset[o * 2 * pixels + pixel], offset[(o * 2 + 1) * pixels + pixel]);
  float m = mask[mix(0, o * pixels + pixel, p.masked != 0)];
  modulation = mix(1.0, m, p.masked != 0);
}

float sampleAt(int element, bool exists) {
  ivec4 at = max(here.at, ivec4(0));
  element = mix(0, element, exists);
  vec4 corner = mix(vec4(0.0), vec4(x[element + at.x], x[element + at.y], x[element + at.z], x[element + at.w]), greaterThanEqual(here.at, ivec4(0)));
  float sum = corner.x * here.weight.x + corner.y * here.weight.y + corner.z * here.weight.z + corner.w * here.weight.w;
  return mix(0.0, sum * modulation, exists);
}
#else
int at; // element of the tap's input in a plane
bool inside;

bool meets(int t) {
  int r = t / p.s;
  int iy = mapPad(iy0 + r * p.dilationY, p.h), ix = mapPad(ix0 + (t - r * p.s) * p.dilationX, p.w);
  at = mix(0, iy * p.w + ix, min(iy, ix) >= 0);
  return min(iy, ix) >= 0;
}

void aim() { inside = meets(tap); }

float sampleAt(int element, bool exists) {
  exists = all(bvec2(exists, inside));
  // Selected, not multiplied by 0: the element may be an infinity.
  return mix(0.0, x[mix(0, element + at, exists)], exists);
}

#define MARKED 256 // taps that can be marked; later ones are never skipped
shared uint needed[MARKED / 32];

// mark notes the taps that meet a pixel for any column.
void mark() {
  if (tid < MARKED / 32) needed[tid] = 0u;
  barrier();
  int taps = min(p.r * p.s, MARKED);
  for (int t = above; t < taps; t += EVERY) {
    if (meets(t)) atomicOr(needed[t / 32], 1u << (t % 32));
  }
  barrier();
}
#endif

// next moves on to the next channels, offset group or tap; false behind the last.
bool next(int firstChannel) {
  c += DEPTH;
  if (c < end) return true;
#ifdef DEFORM
  c = end;
  q++;
  if (c >= to) {
    c = from;
    q = firstOffset;
    tap++;
  }
  end = min(to, (q + 1) * p.offsetChannels - firstChannel);
#else
  c = from;
  do tap++; while (tap < min(p.r * p.s, MARKED) && (needed[tap / 32] >> (tap % 32) & 1u) == 0u);
#endif
  if (tap >= p.r * p.s) return false;
  aim();
  return true;
}

void load(int kb) {
  int plane = p.h * p.w, count = end - c;
  UNROLL for (int j = 0; j < VALUES; j++) {
    int d = above + j * EVERY;
    value[j] = sampleAt(image + (c + d) * plane, any(bvec2(whole != 0, d < count)));
  }
  int block = ((kb * p.r * p.s + tap) * p.cg + c) * (ROWS / 4);
  UNROLL for (int j = 0; j < WEIGHTS; j++) {
    int i = tid + j * THREADS;
    bool exists = any(bvec2(whole != 0, i < count * (ROWS / 4)));
    weight[j] = mix(vec4(0.0), wt[mix(0, block + i, exists)], bvec4(exists));
  }
}

void put(int to) {
  UNROLL for (int j = 0; j < VALUES; j++) {
    int i = (to * DEPTH + above + j * EVERY) * COLUMNS + column;
    values[i / 4][i % 4] = value[j];
  }
  UNROLL for (int j = 0; j < WEIGHTS; j++) weights[to * (DEPTH * ROWS / 4) + tid + j * THREADS] = weight[j];
}

// multiply adds the products of a tile. Columns of an invocation: fours, COLUMNS / (TN / 4) apart.
void multiply(int tile) {
  int tx = tid % ACROSS, ty = tid / ACROSS;
  for (int d = tile * DEPTH; d < tile * DEPTH + DEPTH; d++) {
    vec4 v[TN / 4], w[TM / 4];
    UNROLL for (int j = 0; j < TN / 4; j++) v[j] = values[d * (COLUMNS / 4) + j * ACROSS + tx];
    UNROLL for (int i = 0; i < TM / 4; i++) w[i] = weights[d * (ROWS / 4) + ty * (TM / 4) + i];
    UNROLL for (int i = 0; i < TM; i++) {
      UNROLL for (int j = 0; j < TN / 4; j++) acc[i * (TN / 4) + j] = fma(vec4(w[i / 4][i % 4]), v[j], acc[i * (TN / 4) + j]);
    }
  }
}

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return; // the whole workgroup does
  int kb = int(tile % uint(p.blocks)), first = int(tile / uint(p.blocks));
  int g = kb / p.groupBlocks, pixels = p.ho * p.wo;
#ifdef SPLIT
  int part = first % p.parts;
  first /= p.parts;
  from = part * p.share;
  to = min(p.cg, from + p.share);
#else
  from = 0;
  to = p.cg;
#endif
  first *= COLUMNS;
  tid = int(gl_LocalInvocationID.x);
  column = tid % COLUMNS;
  above = tid / COLUMNS;
  int item = min(first + column, p.items - 1), firstChannel = g * p.cg;
  n = item / pixels;
  pixel = item - n * pixels;
  int oy = pixel / p.wo;
  iy0 = oy * p.strideY - p.top;
  ix0 = (pixel - oy * p.wo) * p.strideX - p.left;
  image = p.firstX + (n * p.c + firstChannel) * p.h * p.w;
  UNROLL for (int i = 0; i < TM * TN / 4; i++) acc[i] = vec4(0.0);
#ifdef DEFORM
  tap = 0;
  c = from;
  firstOffset = (firstChannel + from) / p.offsetChannels;
  q = firstOffset;
  end = min(to, (q + 1) * p.offsetChannels - firstChannel);
  aim();
  bool more = true;
#else
  mark();
  tap = -1; // next() finds the first that is needed
  c = end = to;
  bool more = next(firstChannel);
#endif
  if (more) {
    load(kb);
    put(0);
    barrier();
  }
  for (int now = 0; more; now = 1 - now) {
    more = next(firstChannel);
    if (more) load(kb);
    multiply(now);
    if (more) put(1 - now);
    barrier();
  }
  int tx = tid % ACROSS, row = tid / ACROSS * TM, k0 = (kb - g * p.groupBlocks) * ROWS + row;
  UNROLL for (int j = 0; j < TN / 4; j++) {
    int i0 = first + 4 * (j * ACROSS + tx);
    UNROLL for (int m = 0; m < TM; m++) {
#ifdef SPLIT
      int row0 = (part * (p.blocks / p.groupBlocks) + g) * p.kg + k0 + m;
      UNROLL for (int e = 0; e < 4; e++) {
        if (all(bvec2(i0 + e < p.items, k0 + m < p.kg))) y[row0 * p.items + i0 + e] = acc[m * (TN / 4) + j][e];
      }
#else
      int b = p.biasAt + kb * ROWS + row + m;
      vec4 v = finish(acc[m * (TN / 4) + j] + wt[b / 4][b % 4]);
      UNROLL for (int e = 0; e < 4; e++) {
        int i = i0 + e, of = i / pixels;
        if (all(bvec2(i < p.items, k0 + m < p.kg))) y[p.firstY + (of * p.k + g * p.kg + k0 + m) * pixels + i - of * pixels] = v[e];
      }
#endif
    }
  }
}
