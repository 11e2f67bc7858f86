package conv

// Resize is a bilinear resize of every channel, N×C×H×W to N×C×Ho×Wo: PyTorch's
// interpolate with mode="bilinear" and a given size, without antialiasing.
//
// Output i of an axis of n pixels made m samples at
//
//	i·(n−1)/(m−1)                    with AlignCorners, 0 for m = 1
//	max((i+½)·n/m − ½, 0)            without
//
// between the pixels below and above, of which the last has none above it.
type Resize struct {
	N, C, H, W, Ho, Wo int
	AlignCorners       bool
}

// NewResize checks a resize of an input x (N×C×H×W) to ho rows and wo columns.
// Errors match [ErrShape].
func NewResize(x Shape, ho, wo int, alignCorners bool) (Resize, error) {
	r := Resize{x[0], x[1], x[2], x[3], ho, wo, alignCorners}
	if err := x.Check("input"); err != nil {
		return Resize{}, err
	}
	if err := r.Output().Check("output"); err != nil {
		return Resize{}, err
	}
	if r.C < 1 || r.H < 1 || r.W < 1 {
		return Resize{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	if ho < 1 || wo < 1 {
		return Resize{}, refuse(ErrShape, "the image is resized to %d×%d, rows and columns must be at least 1", ho, wo)
	}
	return r, nil
}

// ResizeRoundings are those inside one term of a resize or of its gradient,
// besides that of the fractions (see [Sum.Slope]): along each axis 1−f, where
// both neighbours are the last pixel a sum of f and 1−f, and a product.
const ResizeRoundings = 6

// Input returns the input's shape, N×C×H×W.
func (r Resize) Input() Shape { return Shape{r.N, r.C, r.H, r.W} }

// Output returns the output's shape, N×C×Ho×Wo.
func (r Resize) Output() Shape { return Shape{r.N, r.C, r.Ho, r.Wo} }

// Between is where a resized axis samples: Fraction of the way from pixel At to
// the next, or to At itself where that is the last.
type Between struct {
	At       int
	Fraction float64 // in [0, 1)
}

// Rows returns where each row of the output samples.
func (r Resize) Rows() []Between { return between(r.H, r.Ho, r.AlignCorners) }

// Columns returns where each column of the output samples.
func (r Resize) Columns() []Between { return between(r.W, r.Wo, r.AlignCorners) }

// between counts in whole numbers, so that no position is rounded but the
// fraction, once.
func between(n, m int, aligned bool) []Between {
	at := make([]Between, m)
	for i := range at {
		position, unit := max((2*i+1)*n-m, 0), 2*m
		if aligned {
			position, unit = i*(n-1), max(m-1, 1)
		}
		at[i] = Between{position / unit, float64(position%unit) / float64(unit)}
	}
	return at
}

// Span is a range of outputs.
type Span struct{ First, End int }

// Readers returns for each of n pixels the outputs that read it.
func Readers(at []Between, n int) []Span {
	spans := make([]Span, n)
	first, end := 0, 0
	for i := range spans {
		for first < len(at) && at[first].At+1 < i {
			first++
		}
		for end < len(at) && at[end].At <= i {
			end++
		}
		spans[i] = Span{first, end}
	}
	return spans
}
