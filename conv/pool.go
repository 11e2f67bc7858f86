package conv

// GlobalPool is a global average pooling, N×C×H×W to N×C×1×1: PyTorch's
// adaptive_avg_pool2d to one pixel,
//
//	y[n,c] = 1/(H·W) · Σ x[n,c]        dx[n,c,i,j] = dy[n,c] / (H·W)
type GlobalPool struct{ N, C, H, W int }

// NewGlobalPool checks a pooling of an input x. Errors match [ErrShape].
func NewGlobalPool(x Shape) (GlobalPool, error) {
	if err := x.Check("input"); err != nil {
		return GlobalPool{}, err
	}
	if x[1] < 1 || x[2] < 1 || x[3] < 1 {
		return GlobalPool{}, refuse(ErrShape, "input is %v, channels, rows and columns must be at least 1", x)
	}
	return GlobalPool{x[0], x[1], x[2], x[3]}, nil
}

// PoolRoundings are those inside one term: 1/(H·W) and the product with it.
const PoolRoundings = 2

// Input returns the input's shape, N×C×H×W.
func (p GlobalPool) Input() Shape { return Shape{p.N, p.C, p.H, p.W} }

// Output returns the output's shape, N×C×1×1.
func (p GlobalPool) Output() Shape { return Shape{p.N, p.C, 1, 1} }
