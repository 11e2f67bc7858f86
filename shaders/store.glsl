#include "finish.glsl"

// storePixel writes output t of the tile for every channel of block kb that
// exists; at is the element of the image's first channel.
void storePixel(int t, int kb, int at) {
  int g = kb / p.groupBlocks, first = (kb - g * p.groupBlocks) * TM;
  int plane = p.ho * p.wo;
  UNROLL for (int q = 0; q < TM; q += 4) {
    vec4 v = finish(acc[q / 4 * TN + t] + fourBiases(kb, q));
    UNROLL for (int m = 0; m < 4; m++) {
      if (first + q + m < p.kg) y[at + (g * p.kg + first + q + m) * plane] = v[m];
    }
  }
}
