// Masks with softmax over the points of a group. Needs dcn.glsl and MaskBuffer.

// Softmax is what turns a raw mask z into exp(z − top) / sum.
struct Softmax { real top, sum; };

Softmax softmaxOf(int n, int g, int pixel) {
  Softmax s = Softmax(0.0, 1.0);
  if (softmax != 0) {
    s.top = mask[maskOf(n, g, 0, pixel)];
    for (int t = 1; t < p.points; t++) s.top = max(s.top, mask[maskOf(n, g, t, pixel)]);
    s.sum = 0.0;
    for (int t = 0; t < p.points; t++) s.sum += exponential(mask[maskOf(n, g, t, pixel)] - s.top);
  }
  return s;
}

real modulation(Softmax s, int n, int g, int t, int pixel) {
  real m = mask[maskOf(n, g, t, pixel)];
  return mix(m, exponential(m - s.top) / s.sum, softmax != 0);
}
