// Package exact is the oracle of float64 computations: every operator of the
// family in double-double arithmetic, about 104 bits, in loops that follow from
// one observation. Each output is a sum of products,
//
//	y = Σ weight · mask · wy · wx · x
//
// over the pixels x that it reads, wy and wx the shares of rows and columns in a
// bilinear sample (1 where nothing is sampled). So one walk over the products,
// which it calls links, yields the output and every gradient: that by a factor
// is the product of the others and dy.
//
// It shares no code with package cpuref, which computes in plain float64, nor with
// anything it judges. Sums come with [conv.Sum.Low] and are for [conv.Judge64]. It
// is slow, a microsecond a link, and for tests.
package exact

import (
	"math"

	"vkconv/conv"
)

// num is hi + lo, hi their sum rounded to float64.
//
// Source: Dekker, "A floating-point technique for extending the available
// precision", 1971; Knuth, TAOCP vol. 2, 4.2.2.
type num struct{ hi, lo float64 }

var one = num{1, 0}

// sumOf is a + b exactly; what is not finite has no low part.
func sumOf(a, b float64) num {
	s := a + b
	if s-s != 0 {
		return num{s, 0}
	}
	t := s - a
	return num{s, (a - (s - t)) + (b - t)}
}

// prodOf is a·b exactly.
func prodOf(a, b float64) num {
	p := a * b
	if p-p != 0 {
		return num{p, 0}
	}
	return num{p, math.FMA(a, b, -p)}
}

func (a num) plus(b num) num {
	s := sumOf(a.hi, b.hi)
	if s.hi-s.hi != 0 {
		return s
	}
	return sumOf(s.hi, s.lo+(a.lo+b.lo))
}

func (a num) minus(b num) num { return a.plus(num{-b.hi, -b.lo}) }

func (a num) times(b num) num {
	p := prodOf(a.hi, b.hi)
	if p.hi-p.hi != 0 {
		return p
	}
	return sumOf(p.hi, p.lo+(a.hi*b.lo+a.lo*b.hi))
}

func (a num) by(b float64) num { return a.times(num{b, 0}) }

// quotient is a / b.
func quotient(a, b float64) num {
	q := a / b
	return sumOf(q, math.FMA(-q, b, a)/b)
}

// tally collects the terms of one element.
type tally struct {
	v          num
	abs, slope float64
	terms      int
}

// add adds a part of a term; count says that it begins a new one.
func (t *tally) add(v num, slope float64, count bool) {
	t.v = t.v.plus(v)
	t.abs += math.Abs(v.hi)
	t.slope += math.Abs(slope)
	if count {
		t.terms++
	}
}

func (t *tally) sum() conv.Sum {
	if v := t.v.hi; math.IsNaN(v) || math.IsInf(v, 0) {
		return conv.Sum{Value: v, Abs: t.abs, Terms: t.terms}
	}
	return conv.Sum{Value: t.v.hi, Low: t.v.lo, Abs: t.abs, Slope: t.slope, Terms: t.terms}
}

func sums(t []tally) []conv.Sum {
	if t == nil {
		return nil
	}
	s := make([]conv.Sum, len(t))
	for i := range t {
		s[i] = t[i].sum()
	}
	return s
}

// Gradients are the derivatives of Σ dy·y by an operator's inputs; nil where it
// has no such input.
type Gradients struct{ X, Weight, Bias, Offset, Mask []conv.Sum }

// corner is one of the four pixels of a bilinear sample: its place in the plane,
// and its shares, which grow by sy and sx when the position moves.
type corner struct {
	at     int
	wy, wx num
	sy, sx float64
}

// corners calls f with those of the pixels around (y + fy, x + fx) that count.
func corners(y, x int, fy, fx num, h, w int, border conv.Border, f func(corner)) {
	if border == conv.BorderCut && (y < 0 || y >= h || x < 0 || x >= w) {
		return
	}
	for k := range 4 {
		iy, ix := y+k/2, x+k%2
		if border == conv.BorderCut { // the last row and column repeat
			iy, ix = min(iy, h-1), min(ix, w-1)
		}
		if iy < 0 || iy >= h || ix < 0 || ix >= w {
			continue
		}
		c := corner{at: iy*w + ix, wy: one.minus(fy), wx: one.minus(fx), sy: -1, sx: -1}
		if k/2 == 1 {
			c.wy, c.sy = fy, 1
		}
		if k%2 == 1 {
			c.wx, c.sx = fx, 1
		}
		f(c)
	}
}

// split returns the whole part and the fraction of base + delta, nothing rounded.
func split(base int, delta float64) (int, num) {
	if math.IsNaN(delta) {
		return base, num{delta, 0}
	}
	delta = min(max(delta, -1<<31), 1<<31)
	floor := math.Floor(delta)
	return base + int(floor), sumOf(delta, -floor)
}
