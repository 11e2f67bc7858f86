// activate4 is conv.Activation of four values: the function of kind ACTIVATION,
// its parameters low (LeakyReLU's slope, Clamp's minimum) and high (Clamp's
// maximum). NaN stays NaN.
//
// Selections, no branches but by kind: where ACTIVATION is a specialization
// constant nothing is left of the other kinds. Comparisons with NaN are false,
// so that a selection keeps v then; far below 0, where −∞·0 would be NaN, the
// limit is taken.
vec4 activate4(vec4 v, float low, float high) {
  vec4 y = v;
  if (ACTIVATION == 3) y = mix(v, low * v, lessThan(v, vec4(0)));
  if (ACTIVATION == 1) y = mix(v, vec4(0), lessThan(v, vec4(0)));
  if (ACTIVATION == 2 || ACTIVATION == 7) {
    float least = mix(0.0, low, ACTIVATION == 7), most = mix(6.0, high, ACTIVATION == 7);
    y = mix(v, vec4(least), lessThan(v, vec4(least)));
    y = mix(y, vec4(most), greaterThan(y, vec4(most)));
  }
  if (ACTIVATION == 4 || ACTIVATION == 6) {
    vec4 e = exp(-abs(v)); // does not overflow
    vec4 sigmoid = mix(vec4(1), e, lessThan(v, vec4(0))) / (1.0 + e);
    y = mix(v, vec4(1), bvec4(ACTIVATION == 6)) * sigmoid;
    y = mix(mix(y, vec4(0), lessThan(v, vec4(-1e3))), v, isnan(v));
  }
  if (ACTIVATION == 5) {
    // v·Φ(v) by erfc(z), z = |v|/√2. From 1 on Abramowitz and Stegun 7.1.26, off
    // by 1.5e-7 at most; below that 1 − z·P(z²), P through erf(√w)/√w at seven
    // Chebyshev points of [0, 1], off by 1.3e-9, since the former would lose
    // what exp is off there.
    vec4 z = abs(v) * 0.70710678118654752, w = z * z;
    vec4 t = 1.0 / (1.0 + 0.3275911 * z);
    vec4 tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-w);
    vec4 near = 1.12837911 + w * (-0.37612626 + w * (0.112835944 + w * (-0.0268542115 + w * (0.00518908724 + w * (-0.00080168643 + w * 7.87587487e-5)))));
    tail = mix(tail, 1.0 - z * near, lessThan(z, vec4(1)));
    y = 0.5 * v * mix(2.0 - tail, tail, lessThan(v, vec4(0)));
    y = mix(mix(y, vec4(0), lessThan(v, vec4(-1e3))), v, isnan(v));
  }
  return y;
}

float activate(float v, float low, float high) { return activate4(vec4(v), low, high).x; }
