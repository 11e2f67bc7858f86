package conv

import "math"

// Bound64 returns how far a float64 computation of the element may be off,
//
//	γ(terms + roundings)·Σ|terms| + u·Σ|slope| + terms·2⁻¹⁰²² + slack,  u = 2⁻⁵³
//
// It is [Sum.Bound] with float64's roundoff and smallest normal number, and one
// rounding more, which pays for the reference: in double-double the value is off
// by a few n·2⁻¹⁰⁴ of Σ|terms|, and Σ|terms| itself, added up in float64, by a share
// of γ(n), so that the bound is off by γ(n)·γ(n+r)·Σ|terms|. Both together are less
// than u·Σ|terms| for sums of fewer than 2²⁶ terms.
func (s Sum) Bound64(roundings int) float64 {
	if s.Terms == 0 {
		return s.Slack
	}
	return gamma(s.Terms+roundings, Roundoff64)*s.Abs + Roundoff64*s.Slope + float64(s.Terms)*0x1p-1022 + s.Slack
}

// Share64 is [Share] of a float64 result, against the reference want + low.
func Share64(got, want, low, bound float64) float64 {
	switch {
	case math.IsNaN(want):
		if math.IsNaN(got) {
			return 0
		}
		return math.Inf(1)
	case math.IsInf(want, 0):
		if got == want {
			return 0
		}
		return math.Inf(1)
	case math.IsNaN(got), math.IsInf(got, 0):
		return math.Inf(1)
	}
	// Where got is near want, their difference is exact.
	diff := math.Abs(got - want - low)
	if diff == 0 {
		return 0
	}
	if bound == 0 || math.IsNaN(bound) {
		return math.Inf(1)
	}
	return diff / bound
}

// Judge64 compares a float64 result with sums of package cpuref/exact, element
// by element.
func Judge64(got []float64, sums []Sum, roundings int) VerdictOf[float64] {
	if len(got) != len(sums) {
		return VerdictOf[float64]{Worst: math.Inf(1), Index: -1}
	}
	v := VerdictOf[float64]{Index: -1}
	for i, g := range got {
		s := sums[i]
		bound := s.Bound64(roundings)
		if share := Share64(g, s.Value, s.Low, bound); v.Index < 0 || share > v.Worst || math.IsNaN(share) {
			v = VerdictOf[float64]{share, i, g, s.Value, bound}
		}
	}
	return v
}
