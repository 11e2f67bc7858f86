package convtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
)

// LayerCase is one of the small operators that a network needs besides
// convolutions, forward and backward, with its data. One of Add, Activation, Pool,
// Norm, Entropy, SGD and Adam says which.
type LayerCase struct {
	Name       string
	Shape      conv.Shape // of x
	Add        bool
	Activation *conv.Activation
	Pool       *conv.Pool
	PoolParams conv.PoolParams // of Pool
	Norm       *conv.BatchNorm
	Entropy    *conv.CrossEntropy
	SGD        *conv.SGD
	Adam       *conv.Adam
	Rate       float64 // of SGD and Adam
	Step       int     // of Adam
	// In are the inputs: of a sum both, else x and dy, and of a normalization weight,
	// bias, running mean and variance, and moments for the backward pass; of a loss x
	// and the classes; of an optimizer gradient, parameters and what else it keeps.
	In []LayerTensor
	// Out are the results: y, dx; of a normalization y with the running moments as
	// given ones, y of training, the batch's mean and variance, the running ones
	// behind, dx, dweight, dbias; of a loss it and dx; of an optimizer parameters and
	// what else it keeps, moved.
	Out []LayerTensor
}

// LayerTensor is an input, or an output with what it must be.
type LayerTensor struct {
	Name      string
	Shape     conv.Shape
	Data      []float32
	Want      []conv.Sum
	Roundings int
}

// RandomLayer returns the i-th random case of a seed, always the same one.
func RandomLayer(seed uint64, i int) LayerCase {
	r := rand.New(rand.NewPCG(seed, uint64(i)|1<<42))
	pick := func(of ...int) int { return of[r.IntN(len(of))] }
	c := LayerCase{Shape: conv.Shape{pick(0, 1, 1, 2, 3), pick(1, 2, 3, 7, 16), pick(1, 2, 3, 5, 8, 17), pick(1, 2, 4, 7, 16, 33)}}
	c.in("x", c.Shape, Normal(r, c.Shape.Len()))
	what := ""
	switch r.IntN(8) {
	case 0:
		what, c.Add = "add", true
		c.in("b", c.Shape, Normal(r, c.Shape.Len()))
		c.out("y", c.Shape, cpuref.Add(c.In[0].Data, c.In[1].Data), 0)
	case 1:
		a := conv.Activation{}
		if r.IntN(8) > 0 {
			a = RandomActivation(r)
		}
		what, c.Activation = a.Kind.String(), &a
		x := c.In[0].Data
		for j := range x {
			switch r.IntN(6) {
			case 0: // kinks
				x[j] = []float32{0, 6, a.Min, a.Max}[r.IntN(4)]
			case 1:
				x[j] *= 20
			}
		}
		dy := c.in("dy", c.Shape, Normal(r, c.Shape.Len()))
		c.out("y", c.Shape, cpuref.Activation(a, x), conv.ProductRoundings)
		c.out("dx", c.Shape, cpuref.ActivationBackward(a, x, dy), conv.ProductRoundings)
	case 2, 3:
		for c.Pool == nil {
			c.PoolParams = conv.PoolParams{Kernel: [2]int{pick(1, 2, 3, 3, 5), pick(1, 2, 2, 3, 4)}, Stride: [2]int{pick(1, 2, 2, 3), pick(1, 2, 3, 4)},
				Padding: conv.Padding{Top: pick(0, 0, 1, 2), Left: pick(0, 0, 1, 2), Bottom: pick(0, 0, 1, 2), Right: pick(0, 1, 1, 3)}, Ceil: r.IntN(2) == 0}
			if r.IntN(3) == 0 {
				c.PoolParams.Stride = [2]int{}
			}
			make := c.PoolParams.Max
			if what = "max pool"; r.IntN(2) == 0 {
				what, c.PoolParams.ExcludePadding = "avg pool", r.IntN(2) == 0
				make = c.PoolParams.Average
			} else if r.IntN(2) == 0 {
				c.PoolParams.Dilation = [2]int{pick(1, 2, 3), pick(1, 2, 5)}
				make = c.PoolParams.Max
			}
			if p, err := make(c.Shape); err == nil {
				c.Pool = &p
			} else if r.IntN(20) == 0 { // no window fits
				c.Shape[2], c.Shape[3] = 9, 11
				c.In[0] = LayerTensor{Name: "x", Shape: c.Shape, Data: Normal(r, c.Shape.Len())}
			}
		}
		what += fmt.Sprintf(" %+v", c.PoolParams)
		p, x := *c.Pool, c.In[0].Data
		for j := range x {
			if r.IntN(3) == 0 { // equal ones
				x[j] = float32(r.IntN(3))
			}
		}
		dy := c.in("dy", p.Output(), Normal(r, p.Output().Len()))
		roundings := conv.QuotientRoundings
		if p.Maximum {
			roundings = 0
		}
		c.out("y", p.Output(), cpuref.Pool(p, x), roundings)
		c.out("dx", c.Shape, cpuref.PoolBackward(p, x, dy), roundings)
	case 4:
		for c.Shape[0]*c.Shape[2]*c.Shape[3] < 2 {
			c.Shape[0], c.Shape[3] = 2, pick(1, 5)
			c.In[0] = LayerTensor{Name: "x", Shape: c.Shape, Data: Normal(r, c.Shape.Len())}
		}
		b, err := conv.BatchNormParams{Momentum: []float32{0, 0.5, 1, 0.01}[r.IntN(4)], Eps: []float32{0, 1e-3}[r.IntN(2)]}.BatchNorm(c.Shape)
		if err != nil {
			panic(err)
		}
		what, c.Norm = fmt.Sprintf("batch norm %+v", b), &b
		c.norm(r, b)
	case 5:
		what = "cross-entropy"
		c.entropy(r)
	case 6:
		what = c.sgd(r)
	case 7:
		what = c.adam(r)
	}
	c.Name = fmt.Sprintf("seed %d layer case %d: %s of %v", seed, i, what, c.Shape)
	return c
}

// norm draws the data of a normalization: means far from 0 now and then, which
// cost digits, and channels that hardly vary.
func (c *LayerCase) norm(r *rand.Rand, b conv.BatchNorm) {
	x := c.In[0].Data
	shift, spread := float32(r.NormFloat64()), float32(1)
	switch r.IntN(4) {
	case 0:
		shift *= 100
	case 1:
		spread = 1e-3
	}
	for i := range x {
		x[i] = shift + spread*x[i]
	}
	one := b.Channels()
	positive := func() []float32 {
		v := Normal(r, b.C)
		for i := range v {
			v[i] = v[i]*v[i] + 0.01
		}
		return v
	}
	dy, weight, bias := c.in("dy", c.Shape, Normal(r, c.Shape.Len())), c.in("weight", one, Normal(r, b.C)), c.in("bias", one, Normal(r, b.C))
	mean, variance := c.in("running mean", one, Normal(r, b.C)), c.in("running variance", one, positive())
	trained := cpuref.BatchNormTraining(b, x, weight, bias, mean, variance)
	m, v := make([]float32, b.C), make([]float32, b.C)
	for i := range m {
		m[i], v[i] = float32(trained.Mean[i].Value), float32(trained.Var[i].Value)
	}
	m, v = c.in("mean", one, m), c.in("variance", one, v)
	c.out("y given moments", c.Shape, cpuref.BatchNorm(b, x, weight, bias, mean, variance), conv.NormRoundings)
	c.out("y", c.Shape, trained.Y, conv.NormRoundings)
	c.out("mean", one, trained.Mean, cpuref.MomentRoundings)
	c.out("variance", one, trained.Var, cpuref.MomentRoundings)
	c.out("running mean", one, trained.RunningMean, cpuref.MomentRoundings)
	c.out("running variance", one, trained.RunningVar, cpuref.MomentRoundings)
	g := cpuref.BatchNormBackward(b, x, dy, weight, m, v)
	c.out("dx", c.Shape, g.X, cpuref.BatchNormBackwardRoundings)
	c.out("dweight", one, g.Weight, cpuref.BatchNormBackwardRoundings)
	c.out("dbias", one, g.Bias, cpuref.BatchNormBackwardRoundings)
}

// entropy draws a loss: scores near and far, and now and then no class.
func (c *LayerCase) entropy(r *rand.Rand) {
	e, err := conv.NewCrossEntropy(c.Shape)
	if err != nil {
		panic(err)
	}
	c.Entropy = &e
	x, class := c.In[0].Data, make([]float32, e.Places().Len())
	spread := []float32{1, 10, 1e-3}[r.IntN(3)]
	for i := range x {
		x[i] *= spread
	}
	for i := range class {
		if class[i] = float32(r.IntN(e.K)); r.IntN(30) == 0 {
			class[i] = []float32{-1, float32(e.K), 0.5}[r.IntN(3)]
		}
	}
	c.in("class", e.Places(), class)
	loss, dx := cpuref.CrossEntropy(e, x, class)
	c.out("loss", e.Places(), loss, conv.ProductRoundings)
	c.out("dx", c.Shape, dx, cpuref.EntropyRoundings)
}

func (c *LayerCase) sgd(r *rand.Rand) string {
	c.SGD = &conv.SGD{Momentum: []float64{0, 0.9, 0.5}[r.IntN(3)], WeightDecay: []float64{0, 1e-4, 0.3}[r.IntN(3)]}
	c.SGD.Nesterov = c.SGD.Momentum > 0 && r.IntN(2) == 0
	c.Rate = []float64{0, 0.1, 3e-4, 1}[r.IntN(4)]
	n := c.Shape.Len()
	p, v := c.in("parameters", c.Shape, Normal(r, n)), c.in("velocity", c.Shape, Normal(r, n))
	pNew, vNew := cpuref.SGD(*c.SGD, c.Rate, p, v, c.In[0].Data)
	c.out("parameters", c.Shape, pNew, cpuref.StepRoundings)
	c.out("velocity", c.Shape, vNew, cpuref.StepRoundings)
	return fmt.Sprintf("%+v at %g", *c.SGD, c.Rate)
}

func (c *LayerCase) adam(r *rand.Rand) string {
	c.Adam = &conv.Adam{Beta1: []float64{0, 0.5}[r.IntN(2)], Beta2: []float64{0, 0.99}[r.IntN(2)], WeightDecay: []float64{0, 1e-4, 0.3}[r.IntN(3)],
		Decoupled: r.IntN(2) == 0, Eps: []float64{0, 1e-4}[r.IntN(2)]}
	c.Rate, c.Step = []float64{0, 0.1, 3e-4, 1}[r.IntN(4)], []int{1, 2, 7, 1000}[r.IntN(4)]
	n := c.Shape.Len()
	p, m, v := c.in("parameters", c.Shape, Normal(r, n)), c.in("first moment", c.Shape, Normal(r, n)), Normal(r, n)
	if c.Step == 1 {
		clear(m)
	}
	for i := range v {
		if v[i] *= v[i]; c.Step == 1 {
			v[i] = 0
		}
	}
	c.in("second moment", c.Shape, v)
	pNew, mNew, vNew := cpuref.Adam(*c.Adam, c.Rate, c.Step, p, m, v, c.In[0].Data)
	c.out("parameters", c.Shape, pNew, cpuref.StepRoundings)
	c.out("first moment", c.Shape, mNew, cpuref.StepRoundings)
	c.out("second moment", c.Shape, vNew, cpuref.StepRoundings)
	return fmt.Sprintf("%+v, step %d at %g", *c.Adam, c.Step, c.Rate)
}

// kind is the operator's name.
func (c *LayerCase) kind() string {
	switch {
	case c.Add:
		return "add"
	case c.Activation != nil:
		return "activation"
	case c.Pool != nil:
		return "pool"
	case c.Norm != nil:
		return "norm"
	case c.Entropy != nil:
		return "entropy"
	case c.SGD != nil:
		return "sgd"
	}
	return "adam"
}

func (c *LayerCase) in(name string, s conv.Shape, data []float32) []float32 {
	c.In = append(c.In, LayerTensor{Name: name, Shape: s, Data: data})
	return data
}

func (c *LayerCase) out(name string, s conv.Shape, want []conv.Sum, roundings int) {
	c.Out = append(c.Out, LayerTensor{Name: name, Shape: s, Want: want, Roundings: roundings})
}

// RunLayer computes a case's results from its inputs, both in the case's order.
type RunLayer func(c LayerCase, out, in [][]float32) error

// Layers is [Forward] and [Backward] for these operators.
func Layers(t *testing.T, n int, run RunLayer) {
	t.Helper()
	seed := Seed()
	worst := map[string]float64{}
	for i := range n {
		c := RandomLayer(seed, i)
		var all []*Guarded
		var in, out [][]float32
		for _, v := range c.In {
			g := Guard(v.Name, v.Data)
			all, in = append(all, g), append(in, g.Data)
		}
		for _, v := range c.Out {
			g := Poisoned(v.Name, v.Shape.Len())
			all, out = append(all, g), append(out, g.Data)
		}
		if err := run(c, out, in); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		for _, g := range all {
			if err := g.Check(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
		}
		for i, o := range c.Out {
			v := conv.Judge(out[i], o.Want, nil, o.Roundings)
			name := c.kind() + " " + o.Name
			worst[name] = max(worst[name], v.Worst)
			if !v.OK() {
				t.Fatalf("%s: %s[%d] is %g, want %g within %g (%.2f of the bound)", c.Name, o.Name, v.Index, v.Got, v.Want, v.Bound, v.Worst)
			}
		}
	}
	t.Logf("%d random cases, seed %d: worst share of the bound %v", n, seed, worst)
}
