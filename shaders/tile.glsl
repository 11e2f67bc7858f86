// The register tile that every product kernel shares: an invocation computes
// TM output channels × TN outputs,
//
//            outputs →   TN
//            ┌───────────────┐
//   channels │  acc[m][n]   +=  weight[m] · value[n·ESTEP + s]
//     ↓  TM  └───────────────┘
//
// one (input channel, tap) at a time. values come from the including shader;
// the TM weights lie side by side in memory and are loaded by lanes.glsl's
// scheme: on drivers that run a subgroup as one SIMD vector a load costs some
// 40 cycles (it is a loop over the lanes), handing a value on about one.
//
// TM, TN, TAPS, ESTEP, CHANNELS and LANES are defines and not specialization constants:
// there are drivers that execute every branch and every loop step of a shader
// as written, with constants that come in too late for them, and index private
// arrays in memory. Here all loops over them are unrolled at build time.
//
// VALUES is the number of values of a step: TN, or more where TAPS neighbouring
// taps share them.

#include "lanes.glsl"

// Four weights a load where a subgroup has enough of them: on lavapipe 22.3 a
// load of four costs 2.3 times a load of one, on SwiftShader 3.2 times.
#if TM % (4 * LANES) == 0
#define WIDE
layout(binding = 1) readonly buffer WeightBuffer { vec4 wt[]; };
#else
layout(binding = 1) readonly buffer WeightBuffer { float wt[]; };
#endif

vec4 acc[TM / 4 * TN];
float value[VALUES];

void clearTile() {
  UNROLL for (int i = 0; i < TM / 4 * TN; i++) acc[i] = vec4(0);
}

// fma and not a product and a sum: lavapipe's compiler computes all products of
// a step first where it may, and keeps them in memory. On Mesa 26 conv2d_l8_m32n4s3
// took 1.5 times as long so, pointwise_l8_m32n4 1.4 times; on Mesa 22.3 and
// SwiftShader there is no difference. With APART, for deform.comp, whose steps
// were 1.2 times as fast so on both lavapipes.
void multiplyColumn(int m, vec4 w, int s) {
#ifdef APART
  UNROLL for (int t = 0; t < TN; t++) acc[m * TN + t] += w * value[t * ESTEP + s];
#else
  UNROLL for (int t = 0; t < TN; t++) acc[m * TN + t] = fma(w, vec4(value[t * ESTEP + s]), acc[m * TN + t]);
#endif
}

// multiplyTile adds the products of the TM weights from element at on; s
// selects the tap among TAPS.
void multiplyTile(int at, int s) {
#ifdef WIDE
  UNROLL for (int q = 0; q < TM / 4; q += LANES) {
    vec4 held = wt[at / 4 + q + LANE];
    UNROLL for (int i = 0; i < LANES; i++) multiplyColumn(q + i, HELD4(held, i), s);
  }
#else
  UNROLL for (int q = 0; q < TM / LANES; q++) {
    float held = wt[at + q * LANES + LANE];
    UNROLL for (int i = 0; i < LANES / 4; i++) multiplyColumn(q * (LANES / 4) + i, fourWeights(held, i), s);
  }
#endif
}

float biasOf(int kb, int m) {
#ifdef WIDE
  return wt[(p.biasAt + kb * TM + m) / 4][m % 4];
#else
  return wt[p.biasAt + kb * TM + m];
#endif
}

vec4 fourBiases(int kb, int m) {
#ifdef WIDE
  return wt[(p.biasAt + kb * TM + m) / 4];
#else
  return vec4(biasOf(kb, m), biasOf(kb, m + 1), biasOf(kb, m + 2), biasOf(kb, m + 3));
#endif
}
