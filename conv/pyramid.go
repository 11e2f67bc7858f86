package conv

// Pyramid is an image pyramid with every number known: of each level the
// convolution that makes it of the one before. Make one by [NewPyramid].
type Pyramid struct{ Levels []Problem }

// Binomial is the filter of a pyramid along one axis, exact in float32.
var Binomial = [5]float32{1. / 16, 4. / 16, 6. / 16, 4. / 16, 1. / 16}

// NewPyramid checks a pyramid of so many levels above an input x (N×C×H×W).
// Every level is the one before, filtered by [Binomial] along both axes and
// taken at every second pixel, REDUCE of Burt and Adelson, "The Laplacian Pyramid
// as a Compact Image Code", 1983 (a = 3/8). Beyond the border the edge pixel is
// repeated. n pixels become ⌈n/2⌉. Errors match [ErrParams] or [ErrShape].
func NewPyramid(x Shape, levels int) (p Pyramid, err error) {
	if levels < 1 || levels > 32 {
		return Pyramid{}, refuse(ErrParams, "a pyramid has %d levels, must have 1 to 32", levels)
	}
	if x[1] < 1 {
		return Pyramid{}, refuse(ErrShape, "input is %v, channels must be at least 1", x)
	}
	params := Params{Stride: [2]int{2, 2}, Padding: Pad(2), Groups: x[1], Mode: Replicate}
	for range levels { // a depthwise convolution of stride 2
		q, err := params.Problem(x, Shape{x[1], 1, 5, 5}, false)
		if err != nil {
			return Pyramid{}, err
		}
		p.Levels = append(p.Levels, q)
		x = q.Output()
	}
	return p, nil
}

// Input returns the input's shape, N×C×H×W.
func (p Pyramid) Input() Shape { return p.Levels[0].Input() }

// Shapes returns the levels' shapes, the largest first; the input is not among them.
func (p Pyramid) Shapes() (s []Shape) {
	for _, q := range p.Levels {
		s = append(s, q.Output())
	}
	return s
}

// Weight returns the weight of every level, C×1×5×5.
func (p Pyramid) Weight() (weight []float32) {
	for range p.Levels[0].C {
		for _, v := range Binomial {
			for _, h := range Binomial {
				weight = append(weight, v*h) // exact
			}
		}
	}
	return weight
}
