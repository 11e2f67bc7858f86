package conv

import (
	"fmt"
	"math"
)

// Type is how a tensor's elements are stored, and with that the mode in which
// a layer computes. Each mode has a bound of its own; with u the unit roundoff of
// what the sums are in, n the number of terms of a sum, r the roundings inside
// a term and γ(n) = n·u/(1 − n·u), a result y is right where
//
//	mode              sums in   u      |y − ref| ≤ B
//	Float32           float32   2⁻²⁴   γ(n−1+r)·Σ|terms| + u·Σ|slope| + n·2⁻¹²⁶           Sum.Bound, Judge
//	Float16, BFloat16 float32   2⁻²⁴   as Float32, and t·(|ref| + that) + the least of t   Type.Stored, Judge
//	Float64           float64   2⁻⁵³   γ(n+r)·Σ|terms| + u·Σ|slope| + n·2⁻¹⁰²²            Sum.Bound64, Judge64
//
// with t = 2⁻¹¹ for Float16 and 2⁻⁸ for BFloat16. The reference is in float64; for
// Float64 it must be better than that, and package cpuref/exact's is.
type Type uint8

const (
	Float32  Type = iota // the default
	Float16              // IEEE 754 binary16: 11 bits of precision, up to 65504
	BFloat16             // the upper half of a float32: 8 bits of precision, float32's range
	Float64              // float64 throughout: nothing is stored, multiplied or added in less
)

var typeNames = [...]string{"float32", "float16", "bfloat16", "float64"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Check refuses what is no type; the error matches [ErrParams].
func (t Type) Check() error {
	if int(t) >= len(typeNames) {
		return refuse(ErrParams, "element type is %d, must be one of %v", t, typeNames)
	}
	return nil
}

// Bytes returns the size of an element.
func (t Type) Bytes() int64 {
	switch t {
	case Float32:
		return 4
	case Float64:
		return 8
	}
	return 2
}

// Roundoff returns the type's unit roundoff.
func (t Type) Roundoff() float64 {
	switch t {
	case Float16:
		return 0x1p-11
	case BFloat16:
		return 0x1p-8
	case Float64:
		return Roundoff64
	}
	return Roundoff
}

// Encode returns v in a 16-bit type, rounded to nearest, ties to even; beyond
// the type's range it is infinite, NaN stays NaN.
func (t Type) Encode(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, magnitude := uint16(bits>>16&0x8000), bits&0x7fffffff
	if magnitude > 0x7f800000 {
		if t == BFloat16 {
			return sign | 0x7fc0
		}
		return sign | 0x7e00
	}
	if t == BFloat16 {
		return uint16((bits + 0x7fff + bits>>16&1) >> 16)
	}
	switch {
	case magnitude >= 0x47800000: // 65536 and more
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2⁻¹⁴: subnormal, units of 2⁻²⁴
		return sign | uint16(math.RoundToEven(math.Abs(float64(v))*0x1p24))
	}
	// Rebias the exponent from 127 to 15 and round 13 bits away; a carry runs into
	// the exponent, from 65520 on up to infinity, as it should.
	m := magnitude - (127-15)<<23
	return sign | uint16((m+0xfff+m>>13&1)>>13)
}

// Decode is the inverse of [Type.Encode]; every 16-bit value is a float32.
func (t Type) Decode(b uint16) float32 {
	if t == BFloat16 {
		return math.Float32frombits(uint32(b) << 16)
	}
	sign, exponent, fraction := uint32(b&0x8000)<<16, uint32(b>>10&31), uint32(b&0x3ff)
	switch exponent {
	case 0:
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}

// Round returns v as the type holds it.
func (t Type) Round(v float32) float32 {
	if t == Float32 || t == Float64 {
		return v
	}
	return t.Decode(t.Encode(v))
}

// Stored returns the sum with a bound for a result that is computed in float32
// and then rounded to the type: one more rounding of everything the value can
// be, and half a unit of the type's smallest subnormal. Of Float32 and Float64 it
// is the sum itself: their results are stored as they are computed.
func (t Type) Stored(s Sum, roundings int) Sum {
	if t == Float32 || t == Float64 {
		return s
	}
	smallest := 0x1p-25
	if t == BFloat16 {
		smallest = tiny // flushed subnormals
	}
	s.Slack += t.Roundoff()*(math.Abs(s.Value)+s.Bound(roundings)) + smallest
	return s
}
