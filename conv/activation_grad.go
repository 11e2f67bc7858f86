package conv

import "math"

// Derivative returns the activation's derivative at x. At a kink it is PyTorch's:
// 0 for ReLU at 0, for ReLU6 and Clamp at both ends, the slope for LeakyReLU at 0.
// At ±∞ it is the limit, of NaN it is NaN.
func (a Activation) Derivative(x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	inside := true
	switch a.Kind {
	case ReLU:
		inside = x > 0
	case ReLU6:
		inside = x > 0 && x < 6
	case LeakyReLU:
		if !(x > 0) {
			return float64(a.Slope)
		}
	case Clamp:
		inside = x > float64(a.Min) && x < float64(a.Max)
	case Sigmoid:
		return bell(x)
	case SiLU:
		return sigmoid(x) + limited(x)*bell(x)
	case GELU:
		return math.Erfc(-x/math.Sqrt2)/2 + limited(x)*density(x)
	}
	if inside {
		return 1
	}
	return 0
}

// limited keeps ∞·0 from being NaN, where the limit is 0.
func limited(x float64) float64 { return max(min(x, 1e3), -1e3) }

// bell is the derivative of the sigmoid, e^−|x| / (1 + e^−|x|)².
func bell(x float64) float64 {
	e := math.Exp(-math.Abs(x))
	return e / ((1 + e) * (1 + e))
}

// density is that of the standard normal distribution.
func density(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }

// ApplyBackward returns dy times the derivative at x, with a bound for a float32
// computation of it: what [Activation.Apply] says of exp, quotients and erf holds
// here. The exponent of GELU's density, −x²/2, is rounded, which counts by its size.
// Where a piece is flat the result is 0, whatever dy is.
func (a Activation) ApplyBackward(x, dy float64) Sum { return a.applyBackward(x, dy, Roundoff, tiny) }

// ApplyBackward64 is [Activation.ApplyBackward] for float64 computations, with
// float64's u, twice as in [Activation.Apply64].
func (a Activation) ApplyBackward64(x, dy float64) Sum {
	s := a.applyBackward(x, dy, Roundoff64, 0x1p-1022)
	s.Slack *= 2
	return s
}

func (a Activation) applyBackward(x, dy, u, least float64) Sum {
	d := a.Derivative(x)
	var s Sum
	if d == 0 {
		return s
	}
	s.Add(d * dy)
	exp := 2 * (3 + 2*math.Abs(x)) // roundings of e^−|x|
	slack := 0.0
	switch a.Kind {
	case Sigmoid:
		slack = d * (exp + 10) * u
	case SiLU:
		slack = (sigmoid(x) + math.Abs(limited(x))*bell(x)) * (exp + 14) * u
	case GELU:
		exp = 2 * (3 + x*x)
		slack = (8 + math.Abs(limited(x))*density(x)*(exp+x*x+10)) * u
	default:
		return s
	}
	if !math.IsNaN(slack) && !math.IsInf(slack, 0) {
		s.Slack = slack * math.Abs(dy)
	}
	s.Slack += (1 + math.Abs(limited(x))) * math.Abs(dy) * least
	return s
}
