// activation.glsl in double precision: conv.Activation of kind ACTIVATION.

// complement is erfc(z) of z ≥ 0, off by a few units of 2⁻⁵³ absolutely.
//
//	z < 2   1 − 2/√π · e^(−z²) · Σ 2ⁿ·z²ⁿ⁺¹/(2n+1)!!          (DLMF 7.6.2)
//	z ≥ 2   e^(−z²)/√π / (z + ½/(z + 1/(z + 3/2/(z + …))))    (DLMF 7.9.1)
//
// After 44 terms the former's are below 2⁻⁸⁰, after 60 levels the latter is off by
// about e⁻⁴⁰.
double complement(double z) {
  double e = exponential(-z * z);
  double term = z, sum = z;
  for (int n = 1; n < 44; n++) {
    term *= 2.0lf * z * z / double(2 * n + 1);
    sum += term;
  }
  double fraction = z;
  for (int n = 60; n > 0; n--) fraction = z + 0.5lf * double(n) / max(fraction, 0.5lf);
  double near = 1.0lf - 1.1283791670955125739lf * e * sum;
  return mix(0.56418958354775628695lf * e / fraction, near, z < 2.0lf);
}

double activate(double v, double low, double high) {
  double y = v;
  bool negative = v < 0.0lf;
  if (ACTIVATION == 3) y = mix(v, low * v, negative);
  if (ACTIVATION == 1) y = mix(v, 0.0lf, negative);
  if (ACTIVATION == 2 || ACTIVATION == 7) {
    double least = mix(0.0lf, low, ACTIVATION == 7), most = mix(6.0lf, high, ACTIVATION == 7);
    y = mix(v, least, v < least);
    y = mix(y, most, y > most);
  }
  if (ACTIVATION == 4 || ACTIVATION == 6) {
    double e = exponential(-abs(v));
    double sigmoid = mix(1.0lf, e, negative) / (1.0lf + e);
    y = mix(v, 1.0lf, ACTIVATION == 6) * sigmoid;
    y = mix(mix(y, 0.0lf, v < -1e3lf), v, isNaN(v));
  }
  if (ACTIVATION == 5) {
    double tail = complement(min(abs(v) * 0.70710678118654752440lf, 40.0lf));
    y = 0.5lf * v * mix(2.0lf - tail, tail, negative);
    y = mix(mix(y, 0.0lf, v < -1e3lf), v, isNaN(v));
  }
  return y;
}
