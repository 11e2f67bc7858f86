// The register tile of the gradients' products,
//
//            columns →   TN
//            ┌───────────────┐
//   rows     │  acc[m][n]   +=  factor[m] · value[n]
//     ↓  TM  └───────────────┘
//
// The including shader loads the values, one set a lane; the TM factors are the
// same for all lanes, so that LANES of them are loaded at a time, one a lane,
// and handed round (see lanes.glsl). It defines FACTOR, the array they are in.

#include "lanes.glsl"

float acc[TM * TN];
float value[TN];

void clearTile() {
  UNROLL for (int i = 0; i < TM * TN; i++) acc[i] = 0.0;
}

void multiplyRow(int m, float f) {
  UNROLL for (int t = 0; t < TN; t++) acc[m * TN + t] = fma(f, value[t], acc[m * TN + t]); // see tile.glsl
}

// multiplyTile adds the products of factors FACTOR[at + m·step]. Rows after
// last repeat it: they are computed and not stored.
void multiplyTile(int at, int step, int last) {
#if LANES > 1
  UNROLL for (int q = 0; q < TM / LANES; q++) {
    float held = FACTOR[at + min(q * LANES + LANE, last) * step];
    multiplyRow(q * LANES, HAND(held, 0));
    multiplyRow(q * LANES + 1, HAND(held, 1));
    multiplyRow(q * LANES + 2, HAND(held, 2));
    multiplyRow(q * LANES + 3, HAND(held, 3));
#if LANES == 8
    multiplyRow(q * LANES + 4, HAND(held, 4));
    multiplyRow(q * LANES + 5, HAND(held, 5));
    multiplyRow(q * LANES + 6, HAND(held, 6));
    multiplyRow(q * LANES + 7, HAND(held, 7));
#endif
  }
#else
  UNROLL for (int m = 0; m < TM; m++) multiplyRow(m, FACTOR[at + min(m, last) * step]);
#endif
}
