#version 450
// Gradient by the input, and transposed convolution, which is the same map with
// a bias and an activation behind: every pixel gathers the outputs that read it,
//
//   dx[n,c,iy,ix] = Σ_{k,r,s} weight[k,c,r,s] · dy[n,k,oy,ox]   over  oy·sy − top + r·dy = v
//
// and likewise in x, where v is iy itself or, with a padding mode, any place of
// the padding that repeats row iy (see preimage).
//
// With a stride only taps of the right remainder meet a pixel. Work items are
// sorted by remainder, so that a whole workgroup skips the others:
//
//   stride 2:   phase 0   0 . 2 . 4 .      phase 1   . 1 . 3 . 5
//
//variant conv2d_grad_input_m8n4      TM=8  TN=4 LANES=1
//variant conv2d_grad_input_m1n4      TM=1  TN=4 LANES=1
//variant conv2d_grad_input_l8_m8n4   TM=8  TN=4 LANES=8
//variant conv2d_grad_input_l8_m32n4  TM=32 TN=4 LANES=8
//variant conv2d_grad_input_l4_m8n8   TM=8  TN=8 LANES=4 BROADCAST
//variant conv2d_grad_input_l4_m16n8  TM=16 TN=8 LANES=4 BROADCAST
#extension GL_GOOGLE_include_directive : require
#define INPUT_GRADIENT

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
layout(binding = 2) readonly buffer BiasBuffer { float bias[]; };
layout(binding = 3) writeonly buffer InputGradientBuffer { float dx[]; };

#define FACTOR wt
#include "grad.glsl"
#include "grad_tile.glsl"
#include "finish.glsl"

// preimage is the j-th place of a padded axis of n pixels that shows pixel i,
// counted from the start of the padding; -1 for none. Places past the end of
// the padding are sorted out later: no output reads them.
int preimage(int j, int i, int n, int before) {
  bool replicate = p.mode == 2;
  bool low = mix(j == 1, j <= before, replicate); // in the padding before, not behind
  bool border = mix(i == n - 1, i == 0, low);
  int reflected = mix(2 * (n - 1) - i, -i, low);
  int replicated = mix(i + j - before, -j, low);
  int wrapped = mix(i + n, i - n, low);
  int v = mix(mix(reflected, replicated, replicate), wrapped, p.mode == 3);
  bool shows = mix(border, !border, p.mode == 1);
  shows = any(bvec3(shows, p.mode == 3, j == 0));
  v = mix(v, i, j == 0);
  return mix(-1, max(v + before, -1), shows);
}

int image[TN], iy[TN], ix[TN];     // pixels
int oy[TN], ox[TN], ox0[TN];       // output that the tap at hand reads them for
int restY[TN], restX[TN], rest0[TN]; // 0 where there is one
int at[TN];
bool inside[TN];

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int block = int(tile % uint(p.blocks)), rest = int(tile / uint(p.blocks));
  int perPhase = (p.items + LOCAL * TN - 1) / (LOCAL * TN);
  int phase = rest / perPhase;
  int first = (rest - phase * perPhase) * LOCAL * TN + LOCAL_ID;
  int phasesX = min(p.strideX, p.w);
  int phaseY = phase / phasesX, phaseX = phase - phaseY * phasesX;
  int rows = (p.h + p.strideY - 1) / p.strideY, columns = (p.w + p.strideX - 1) / p.strideX;
  int g = block / p.groupBlocks, c0 = (block - g * p.groupBlocks) * TM;
  int plane = p.ho * p.wo, taps = p.r * p.s;
  int last = min(TM, p.cg - c0) - 1;
  int stepY = p.dilationY / p.strideY, stepX = p.dilationX / p.strideX;
  int moduloY = p.dilationY - stepY * p.strideY, moduloX = p.dilationX - stepX * p.strideX;
  clearTile();
  UNROLL for (int t = 0; t < TN; t++) {
    int i = min(first + t * LOCAL, p.items - 1);
    int line = i / columns;
    image[t] = line / rows;
    iy[t] = (line - image[t] * rows) * p.strideY + phaseY;
    ix[t] = (i - line * columns) * p.strideX + phaseX;
  }
  for (int jy = 0; jy < p.imagesY; jy++) {
    bool some = false; // of the pixels are shown in such a row
    UNROLL for (int t = 0; t < TN; t++) some = any(bvec2(some, preimage(jy, iy[t], p.h, p.top) >= 0));
    // An empty loop skips, where a driver would run both sides of an if.
    int endX = ANY(some) ? p.imagesX : 0;
    for (int jx = 0; jx < endX; jx++) {
      some = false;
      UNROLL for (int t = 0; t < TN; t++) {
        int vy = preimage(jy, iy[t], p.h, p.top), vx = preimage(jx, ix[t], p.w, p.left);
        bool is = min(vy, vx) >= 0;
        oy[t] = mix(-1, vy / p.strideY, is); // stays negative
        restY[t] = vy - oy[t] * p.strideY;
        ox0[t] = mix(-1, vx / p.strideX, is);
        rest0[t] = vx - ox0[t] * p.strideX;
        some = any(bvec2(some, is));
      }
      int endR = ANY(some) ? p.r : 0;
      for (int r = 0; r < endR; r++) {
        UNROLL for (int t = 0; t < TN; t++) {
          ox[t] = ox0[t];
          restX[t] = rest0[t];
        }
        for (int s = 0; s < p.s; s++) {
          some = false;
          UNROLL for (int t = 0; t < TN; t++) {
            inside[t] = all(bvec3((restY[t] | restX[t]) == 0, uint(oy[t]) < uint(p.ho), uint(ox[t]) < uint(p.wo)));
            at[t] = (image[t] * p.k + g * p.kg) * plane + mix(0, oy[t] * p.wo + ox[t], inside[t]);
            some = any(bvec2(some, inside[t]));
          }
          int end = ANY(some) ? p.kg : 0;
          int wAt = (g * p.kg * p.cg + c0) * taps + r * p.s + s;
          for (int k = 0; k < end; k++) {
            UNROLL for (int t = 0; t < TN; t++) {
              float v = dy[at[t]];
              value[t] = mix(0.0, v, inside[t]); // selected, not multiplied: the element may be an infinity
              at[t] += plane;
            }
            multiplyTile(wAt, taps, last);
            wAt += p.cg * taps;
          }
          UNROLL for (int t = 0; t < TN; t++) { // (v − s·dilation) / stride, without dividing
            restX[t] -= moduloX;
            ox[t] -= stepX;
            ox[t] -= int(restX[t] < 0);
            restX[t] += mix(0, p.strideX, restX[t] < 0);
          }
        }
        UNROLL for (int t = 0; t < TN; t++) {
          restY[t] -= moduloY;
          oy[t] -= stepY;
          oy[t] -= int(restY[t] < 0);
          restY[t] += mix(0, p.strideY, restY[t] < 0);
        }
      }
    }
  }
  UNROLL for (int t = 0; t < TN; t++) {
    bool exists = first + t * LOCAL < p.items && iy[t] < p.h && ix[t] < p.w;
    int to = ((image[t] * p.c + g * p.cg + c0) * p.h + iy[t]) * p.w + ix[t], c = g * p.cg + c0;
#if TM < 4
    UNROLL for (int m = 0; m < TM; m++) {
      float b = bias[mix(0, c + min(m, last), p.biased != 0)];
      float v = finish(vec4(acc[m * TN + t] + mix(0.0, b, p.biased != 0))).x;
      if (exists && m <= last) dx[to + m * p.h * p.w] = v;
    }
#else
    UNROLL for (int q = 0; q < TM; q += 4) {
      vec4 v;
      UNROLL for (int m = 0; m < 4; m++) {
        float b = bias[mix(0, c + min(q + m, last), p.biased != 0)];
        v[m] = acc[(q + m) * TN + t] + mix(0.0, b, p.biased != 0);
      }
      v = finish(v);
      UNROLL for (int m = 0; m < 4; m++) {
        if (exists && q + m <= last) dx[to + (q + m) * p.h * p.w] = v[m];
      }
    }
#endif
  }
}
