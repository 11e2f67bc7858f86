package fast

import "vkconv/conv"

// activate applies an activation to v in place. What float32 does as well as
// float64 is done in float32; NaN stays NaN.
func activate(a conv.Activation, v []float32) {
	switch a.Kind {
	case conv.Identity:
	case conv.ReLU:
		for i, x := range v {
			if x < 0 {
				v[i] = 0
			}
		}
	case conv.ReLU6:
		clampTo(v, 0, 6)
	case conv.Clamp:
		clampTo(v, a.Min, a.Max)
	case conv.LeakyReLU:
		for i, x := range v {
			if x < 0 {
				v[i] = a.Slope * x
			}
		}
	default:
		for i, x := range v {
			v[i] = float32(a.Eval(float64(x)))
		}
	}
}

func clampTo(v []float32, lo, hi float32) {
	for i, x := range v {
		if x < lo {
			v[i] = lo
		} else if x > hi {
			v[i] = hi
		}
	}
}

// activate applies the problem's activation to a unit's finished outputs while
// they are in the cache, before they are spread.
func (l *layout) activate(u *unit, y []float32, s *scratch) {
	p := &l.p
	if p.Activation.Kind == conv.Identity {
		return
	}
	n := u.q1 - u.q0
	for g := u.g0; g < u.g1; g++ {
		for k := u.k0; k < u.k1; k++ {
			if l.sumsLen() > 0 {
				activate(p.Activation, s.sums[((g-u.g0)*l.kg+k-u.k0)*l.cols:][:n])
			} else {
				activate(p.Activation, y[(u.n*p.K+g*l.kg+k)*p.Ho*p.Wo+u.z.y0*p.Wo+u.q0:][:n])
			}
		}
	}
}
