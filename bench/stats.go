package bench

import (
	"math"
	"slices"
	"time"
)

// Stats sums up repeated measurements.
type Stats struct {
	N             int
	Median        time.Duration
	First, Third  time.Duration // quartiles
	Fastest, Last time.Duration // the fastest and the slowest
	P95           time.Duration // 95 in 100 are no slower
}

// NewStats sums up times; it needs at least one.
func NewStats(times []time.Duration) Stats {
	s := slices.Sorted(slices.Values(times))
	at := func(q float64) time.Duration {
		i := q * float64(len(s)-1)
		low := int(i)
		high := min(low+1, len(s)-1)
		return s[low] + time.Duration(math.Round((i-float64(low))*float64(s[high]-s[low])))
	}
	return Stats{len(s), at(0.5), at(0.25), at(0.75), s[0], s[len(s)-1], at(0.95)}
}

// Spread is half the distance between the quartiles as a share of the median.
func (s Stats) Spread() float64 {
	if s.Median <= 0 {
		return 0
	}
	return float64(s.Third-s.First) / 2 / float64(s.Median)
}
