package conv

import "math"

// SGD is stochastic gradient descent with momentum as in torch.optim.SGD, without
// dampening: with the gradient g, the velocity v, which starts as zeros, and the
// learning rate lr
//
//	g ← g + WeightDecay·p    v ← Momentum·v + g    p ← p − lr·v
//
// or p ← p − lr·(g + Momentum·v) with Nesterov.
type SGD struct {
	Momentum, WeightDecay float64
	Nesterov              bool
}

// Validate reports what is wrong; the error matches [ErrParams].
func (o SGD) Validate() error {
	switch {
	case !(o.Momentum >= 0 && o.Momentum < math.Inf(1)):
		return refuse(ErrParams, "momentum is %g, must be a number of at least 0", o.Momentum)
	case !(o.WeightDecay >= 0 && o.WeightDecay < math.Inf(1)):
		return refuse(ErrParams, "weight decay is %g, must be a number of at least 0", o.WeightDecay)
	case o.Nesterov && o.Momentum == 0:
		return refuse(ErrParams, "momentum is 0, Nesterov's wants some")
	}
	return nil
}

// Adam is torch.optim.Adam (Kingma and Ba 2015), or with Decoupled torch.optim.AdamW
// (Loshchilov and Hutter 2019). With the gradient g, its moments m and v, which
// start as zeros, and t the step, from 1 on,
//
//	p ← p − lr·WeightDecay·p where decoupled, else g ← g + WeightDecay·p
//	m ← Beta1·m + (1 − Beta1)·g    v ← Beta2·v + (1 − Beta2)·g²
//	p ← p − lr/(1 − Beta1ᵗ) · m / (√v/√(1 − Beta2ᵗ) + Eps)
type Adam struct {
	Beta1, Beta2 float64 // 0 means 0.9 and 0.999
	Eps          float64 // 0 means 1e-8
	WeightDecay  float64
	Decoupled    bool
}

// WithDefaults replaces what was left zero by what zero means.
func (o Adam) WithDefaults() Adam {
	if o.Beta1 == 0 {
		o.Beta1 = 0.9
	}
	if o.Beta2 == 0 {
		o.Beta2 = 0.999
	}
	if o.Eps == 0 {
		o.Eps = 1e-8
	}
	return o
}

// Validate reports what is wrong; the error matches [ErrParams].
func (o Adam) Validate() error {
	o = o.WithDefaults()
	for _, v := range []struct {
		name string
		beta float64
	}{{"beta1", o.Beta1}, {"beta2", o.Beta2}} {
		if !(v.beta > 0 && v.beta < 1) {
			return refuse(ErrParams, "%s is %g, must be between 0 and 1", v.name, v.beta)
		}
	}
	if !(o.Eps > 0 && o.Eps < 1) {
		return refuse(ErrParams, "eps is %g, must be between 0 and 1", o.Eps)
	}
	if !(o.WeightDecay >= 0 && o.WeightDecay < math.Inf(1)) {
		return refuse(ErrParams, "weight decay is %g, must be a number of at least 0", o.WeightDecay)
	}
	return nil
}

// StepSize is lr/(1 − Beta1ᵗ) of step t.
func (o Adam) StepSize(lr float64, t int) float64 { return lr / (1 - math.Pow(o.Beta1, float64(t))) }

// Root is √(1 − Beta2ᵗ) of step t.
func (o Adam) Root(t int) float64 { return math.Sqrt(1 - math.Pow(o.Beta2, float64(t))) }

// CheckStep refuses learning rates and steps that are none; the error matches [ErrParams].
func CheckStep(lr float64, t int) error {
	if !(lr >= 0 && lr < math.Inf(1)) {
		return refuse(ErrParams, "learning rate is %g, must be a number of at least 0", lr)
	}
	if t < 1 {
		return refuse(ErrParams, "step is %d, must be at least 1", t)
	}
	return nil
}
