// activate is conv.Activation: the function of that kind, its parameters low
// (LeakyReLU's slope, Clamp's minimum) and high (Clamp's maximum). NaN stays NaN.
float activate(float v, int kind, float low, float high) {
  if (kind == 0) return v;
  // Comparisons with NaN are false, so that each selection keeps v then.
  if (kind == 1) return v < 0.0 ? 0.0 : v;
  if (kind == 2) return v < 0.0 ? 0.0 : v > 6.0 ? 6.0 : v;
  if (kind == 3) return v < 0.0 ? low * v : v;
  if (kind == 7) return v < low ? low : v > high ? high : v;
  if (kind == 5) {
    // Φ by erfc, Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most.
    float z = abs(v) * 0.70710678118654752;
    float t = 1.0 / (1.0 + 0.3275911 * z);
    float tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-z * z);
    if (v < -1e3) return 0.0; // where −∞·0 would be NaN
    return 0.5 * v * (v < 0.0 ? tail : 2.0 - tail);
  }
  // e^−|v| does not overflow.
  float e = exp(-abs(v));
  float sigmoid = v < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e);
  if (kind == 6) return sigmoid;
  if (v < -1e3) return 0.0;
  return v * sigmoid;
}
