package conv

import (
	"fmt"
	"math"
)

// ActivationKind names a function applied to every output element after the bias.
type ActivationKind uint8

const (
	Identity  ActivationKind = iota
	ReLU                     // max(x, 0)
	ReLU6                    // min(max(x, 0), 6)
	LeakyReLU                // x where x ≥ 0, Slope·x elsewhere
	SiLU                     // x·sigmoid(x)
	GELU                     // x·Φ(x) = x/2·(1 + erf(x/√2)), the exact form
	Sigmoid                  // 1/(1 + e⁻ˣ)
	Clamp                    // min(max(x, Min), Max)
)

var activationNames = [...]string{"identity", "relu", "relu6", "leaky_relu", "silu", "gelu", "sigmoid", "clamp"}

func (k ActivationKind) String() string {
	if int(k) < len(activationNames) {
		return activationNames[k]
	}
	return fmt.Sprintf("ActivationKind(%d)", uint8(k))
}

// ParseActivationKind returns the kind that [ActivationKind.String] calls name.
func ParseActivationKind(name string) (ActivationKind, error) {
	for k, n := range activationNames {
		if n == name {
			return ActivationKind(k), nil
		}
	}
	return 0, refuse(ErrParams, "activation is %q, must be one of %v", name, activationNames)
}

// Activation is a function fused behind a convolution; the zero value is none.
// Definitions are those of torch.nn. NaN stays NaN.
type Activation struct {
	Kind     ActivationKind
	Slope    float32 // LeakyReLU's, at most 1 and at least −1
	Min, Max float32 // Clamp's, Min ≤ Max
}

// Validate reports what is wrong with the activation; the error matches [ErrParams].
func (a Activation) Validate() error {
	switch {
	case int(a.Kind) >= len(activationNames):
		return refuse(ErrParams, "activation is %d, must be one of %v", a.Kind, activationNames)
	case a.Kind == LeakyReLU && !(math.Abs(float64(a.Slope)) <= 1):
		return refuse(ErrParams, "leaky_relu slope is %g, must be between -1 and 1", a.Slope)
	case a.Kind == Clamp && !(a.Min <= a.Max):
		return refuse(ErrParams, "clamp is from %g to %g, the first must not exceed the second", a.Min, a.Max)
	}
	return nil
}

// Eval returns the activation of x.
func (a Activation) Eval(x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	switch a.Kind {
	case ReLU:
		return max(x, 0)
	case ReLU6:
		return min(max(x, 0), 6)
	case LeakyReLU:
		if x < 0 {
			return float64(a.Slope) * x
		}
	case SiLU:
		if x < -1e3 { // −∞·0 would be NaN; the limit is 0
			return 0
		}
		return x * sigmoid(x)
	case GELU:
		if x < -1e3 {
			return 0
		}
		return x / 2 * math.Erfc(-x/math.Sqrt2)
	case Sigmoid:
		return sigmoid(x)
	case Clamp:
		return min(max(x, float64(a.Min)), float64(a.Max))
	}
	return x
}

// flushed is what a subnormal, and x times a subnormal, lose where a device makes
// that zero, the smallest normal number being least.
func flushed(x, least float64) float64 { return (1 + math.Min(math.Abs(x), 1e3)) * least }

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Apply returns the sum with the activation behind it, and with a bound for
// that: an error of the sum grows at most by the function's steepest slope, and
// evaluating the function in float32 adds an error of its own.
//
// For the latter, e⁻ˣ may be off by 3+2|x| units in the last place (the Vulkan
// specification's precision of exp; a unit is 2u), a quotient by 2.5, and an
// erf in float32 by 4u absolutely.
func (a Activation) Apply(s Sum) Sum { return a.apply(s, Roundoff, tiny) }

// Apply64 is [Activation.Apply] for float64 computations, with float64's u. The
// reference calls package math's functions, which are in float64 too: their
// errors are within the same limits, so that twice them is allowed. It follows
// the reference's low part along the tangent.
func (a Activation) Apply64(s Sum) Sum {
	x, low := s.Value, s.Low
	y := a.apply(s, Roundoff64, 0x1p-1022)
	y.Slack += a.apply(Sum{Value: x}, Roundoff64, 0x1p-1022).Slack
	const h = 0x1p-20
	switch {
	case a.Kind == SiLU || a.Kind == GELU || a.Kind == Sigmoid: // low·h² is far below the slack
		y.Low = low * (a.Eval(x+h) - a.Eval(x-h)) / (2 * h)
	case a.Kind == LeakyReLU && x < 0: // rounded here, so the product's rest counts
		y.Low = math.FMA(float64(a.Slope), x, -y.Value) + low*float64(a.Slope)
	case y.Value != x: // constant
		y.Low = 0
	}
	return y
}

func (a Activation) apply(s Sum, u, least float64) Sum {
	x := s.Value
	y := a.Eval(x)
	steepest, slack := 1.0, 0.0
	switch a.Kind {
	case Identity:
		return s
	case LeakyReLU:
		slack = u*math.Abs(y) + least
	case SiLU: // steepest where x·(1−σ)·σ + σ peaks, 1.09984
		steepest, slack = 1.1, math.Abs(y)*(2*(3+2*math.Abs(x))+9)*u+flushed(x, least)
	case GELU: // 1.12890 at √2
		steepest, slack = 1.13, (4*math.Abs(x)+4*math.Abs(y))*u+flushed(x, least)
	case Sigmoid:
		steepest, slack = 0.25, y*(2*(3+2*math.Abs(x))+8)*u+least
	}
	s.Value, s.Abs, s.Slope, s.Slack = y, s.Abs*steepest, s.Slope*steepest, s.Slack*steepest
	if !math.IsNaN(slack) {
		s.Slack += slack
	}
	return s
}
