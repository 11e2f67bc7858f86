package conv

import "math"

// Roundoff is float32's unit roundoff u: a correctly rounded operation has a
// relative error of at most u.
const Roundoff = 1.0 / (1 << 24)

// Roundoff64 is float64's.
const Roundoff64 = 1.0 / (1 << 53)

// tiny is the smallest normal float32. A device may flush smaller results to
// zero, so each term may lose that much absolutely.
const tiny = 0x1p-126

// Gamma returns γₙ = n·u / (1 − n·u), the bound on the relative error of n
// successive roundings (Higham, Accuracy and Stability of Numerical Algorithms,
// ch. 3); +Inf where n·u reaches 1.
func Gamma(n int) float64 { return gamma(n, Roundoff) }

func gamma(n int, u float64) float64 {
	nu := float64(n) * u
	if nu >= 1 {
		return math.Inf(1)
	}
	return nu / (1 - nu)
}

// Sum is one element of a result as the oracle computes it, in float64, with
// what is needed to judge a float32 computation of the same element.
type Sum struct {
	Value float64 // Σ terms
	Abs   float64 // Σ |terms|, with every product inside a term taken absolutely
	Slope float64 // Σ |∂term/∂fraction| over the fractions of sampling positions
	Terms int     // number of terms
	Slack float64 // absolute error allowed to a function evaluated behind the sum
	// Low is what float64 cannot hold of the reference, Value + Low; only package
	// cpuref/exact tells it, which judges float64 computations.
	Low float64
}

// Add adds one term.
func (s *Sum) Add(term float64) {
	s.Value += term
	s.Abs += math.Abs(term)
	s.Terms++
}

// AddSampled adds one term that holds a bilinear sample: abs is the term with
// all its parts taken absolutely, slope its slope by the sample's position.
func (s *Sum) AddSampled(term, abs, slope float64) {
	s.Value += term
	s.Abs += math.Abs(abs)
	s.Slope += math.Abs(slope)
	s.Terms++
}

// Roundings made inside one term, besides the additions that collect terms.
const (
	// ProductRoundings: a term is one product.
	ProductRoundings = 1
	// SampleRoundings: 1−ly, 1−lx, their product, times mask, times pixel, three
	// additions of four corners, times weight (or gradient).
	SampleRoundings = 9
)

// Bound returns how far a float32 computation of the element may be off,
//
//	γ(terms − 1 + roundings)·Σ|terms| + u·Σ|slope| + terms·2⁻¹²⁶ + slack
//
// terms−1 additions in any order and any grouping, roundings made on each
// term, one unit in the last place of each sampling fraction (Δ − ⌊Δ⌋ may
// round when Δ < 0; one ulp below 1 is u), and flushed subnormals.
func (s Sum) Bound(roundings int) float64 {
	if s.Terms == 0 {
		return s.Slack
	}
	return Gamma(s.Terms-1+roundings)*s.Abs + Roundoff*s.Slope + float64(s.Terms)*tiny + s.Slack
}

// Share returns |got − want| as a share of the bound: up to 1 is right, above
// is wrong. Where want is NaN, got must be NaN; where want, rounded to float32,
// is infinite, got must be that infinity; a NaN or infinity anywhere else is
// wrong (+Inf), and so is any difference where the bound is 0.
func Share(got float32, want, bound float64) float64 {
	g := float64(got)
	switch rounded := float64(float32(want)); {
	case math.IsNaN(want):
		if math.IsNaN(g) {
			return 0
		}
		return math.Inf(1)
	case math.IsInf(rounded, 0):
		if g == rounded || math.Abs(g-want) <= bound && !math.IsInf(want, 0) {
			return 0
		}
		return math.Inf(1)
	case math.IsNaN(g), math.IsInf(g, 0) && math.Abs(want)+bound <= math.MaxFloat32:
		return math.Inf(1)
	case math.IsInf(g, 0): // an overflow that the bound allows
		return 1
	}
	diff := math.Abs(g - want)
	if diff == 0 {
		return 0
	}
	if bound == 0 || math.IsNaN(bound) {
		return math.Inf(1)
	}
	return diff / bound
}

// VerdictOf is the outcome of comparing a whole result.
type VerdictOf[T float32 | float64] struct {
	Worst float64 // largest share of the bound; at most 1 is right, +Inf where lengths differ
	Index int     // where, −1 in an empty result
	Got   T
	Want  float64
	Bound float64
}

// Verdict is that of a float32 result.
type Verdict = VerdictOf[float32]

// OK reports whether every element is within its bound.
func (v VerdictOf[T]) OK() bool { return v.Worst <= 1 }

// Judge compares a float32 result with the oracle's sums, element by element.
// want holds the expected values where they come from elsewhere; nil takes the
// sums' own.
func Judge(got []float32, sums []Sum, want []float64, roundings int) Verdict {
	if len(got) != len(sums) || want != nil && len(want) != len(got) {
		return Verdict{Worst: math.Inf(1), Index: -1}
	}
	v := Verdict{Index: -1}
	for i, g := range got {
		w, bound := sums[i].Value, sums[i].Bound(roundings)
		if want != nil {
			w = want[i]
		}
		if share := Share(g, w, bound); v.Index < 0 || share > v.Worst || math.IsNaN(share) {
			v = Verdict{share, i, g, w, bound}
		}
	}
	return v
}
