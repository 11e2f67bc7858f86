// mapPad is conv.MapPad: where a padded axis of n pixels takes its value at i,
// or -1 for a zero. Always below n, whatever i. Selections are made with mix():
// drivers may turn ?: into branches.
int mapPad(int i, int n) {
  bool inside = uint(i) < uint(n);
#ifdef MODES
  int outside = mix(mix(i - n, i + n, i < 0), i, p.mode == 2);
  outside = mix(outside, mix(2 * (n - 1) - i, -i, i < 0), p.mode == 1);
  outside = mix(clamp(outside, 0, n - 1), -1, p.mode == 0);
  return mix(outside, i, inside);
#else
  return mix(-1, i, inside);
#endif
}
