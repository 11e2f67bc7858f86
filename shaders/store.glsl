// storePixel writes output t of the tile for every channel of block kb that
// exists; at is the element of the image's first channel.
void storePixel(int t, int kb, int at) {
  int g = kb / p.groupBlocks, first = (kb - g * p.groupBlocks) * TM;
  int plane = p.ho * p.wo;
  UNROLL for (int m = 0; m < TM; m++) {
    if (first + m < p.kg) y[at + (g * p.kg + first + m) * plane] = acc[m / 4 * TN + t][m % 4] + biasOf(kb, m);
  }
}
