// GLSL has no functions of double precision beyond the square root.

double power2(int k) { return packDouble2x32(uvec2(0u, uint(1023 + k) << 20)); }

// exponential is eᵛ, off by about 2 units in the last place: v = k·ln 2 + r with
// |r| ≤ ½ ln 2, ln 2 in two parts of which the first has zeros at its end, so that
// k times it is exact; the Taylor series of eʳ is off by less than 2⁻⁵⁷ after 13
// terms. NaN is the caller's.
double exponential(double v) {
  v = clamp(v, -760.0lf, 710.0lf);
  double k = floor(v * 1.4426950408889634074lf + 0.5lf);
  double r = (v - k * 6.93147180369123816490e-01lf) - k * 1.90821492927058770002e-10lf;
  double e = 1.0lf / 6227020800.0lf;
  e = e * r + 1.0lf / 479001600.0lf;
  e = e * r + 1.0lf / 39916800.0lf;
  e = e * r + 1.0lf / 3628800.0lf;
  e = e * r + 1.0lf / 362880.0lf;
  e = e * r + 1.0lf / 40320.0lf;
  e = e * r + 1.0lf / 5040.0lf;
  e = e * r + 1.0lf / 720.0lf;
  e = e * r + 1.0lf / 120.0lf;
  e = e * r + 1.0lf / 24.0lf;
  e = e * r + 1.0lf / 6.0lf;
  e = e * r + 0.5lf;
  e = e * r + 1.0lf;
  e = e * r + 1.0lf;
  int i = int(k), half_ = i / 2; // in two steps, as 2ᵏ may be no normal number
  return e * power2(half_) * power2(i - half_);
}
