// activate4 is conv.Activation of four values: the function of that kind, its
// parameters low (LeakyReLU's slope, Clamp's minimum) and high (Clamp's maximum).
// NaN stays NaN.
//
// Selections, no branches but by kind: where kind is a specialization constant
// nothing is left of the other kinds.
vec4 activate4(vec4 v, int kind, float low, float high) {
  if (kind == 0) return v;
  // Comparisons with NaN are false, so that each selection keeps v then.
  if (kind == 3) return mix(v, low * v, lessThan(v, vec4(0)));
  if (kind == 1 || kind == 2 || kind == 7) {
    float least = kind == 7 ? low : 0.0;
    float most = kind == 7 ? high : 6.0;
    vec4 y = mix(v, vec4(least), lessThan(v, vec4(least)));
    if (kind == 1) return y;
    return mix(y, vec4(most), greaterThan(y, vec4(most)));
  }
  // The rest are 0 below -1e3, where −∞·0 would be NaN.
  bvec4 gone = lessThan(v, vec4(-1e3)), negative = lessThan(v, vec4(0));
  vec4 a = abs(v);
  if (kind == 5) {
    // v·Φ(v) by erfc(z), z = |v|/√2. From 1 on Abramowitz and Stegun 7.1.26, off
    // by 1.5e-7 at most; below that 1 − z·P(z²), P through erf(√w)/√w at seven
    // Chebyshev points of [0, 1], off by 1.3e-9, since the former would lose
    // what exp is off there.
    vec4 z = a * 0.70710678118654752, w = z * z;
    vec4 t = 1.0 / (1.0 + 0.3275911 * z);
    vec4 tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-w);
    vec4 near = 1.12837911 + w * (-0.37612626 + w * (0.112835944 + w * (-0.0268542115 + w * (0.00518908724 + w * (-0.00080168643 + w * 7.87587487e-5)))));
    tail = mix(tail, 1.0 - z * near, lessThan(z, vec4(1)));
    vec4 y = 0.5 * v * mix(2.0 - tail, tail, negative);
    return mix(mix(y, vec4(0), gone), v, isnan(v));
  }
  vec4 e = exp(-a); // does not overflow
  vec4 sigmoid = mix(vec4(1), e, negative) / (1.0 + e);
  vec4 y = kind == 6 ? sigmoid : v * sigmoid;
  return mix(mix(y, vec4(0), gone), v, isnan(v));
}

float activate(float v, int kind, float low, float high) { return activate4(vec4(v), kind, low, high).x; }
