package conv

// CrossEntropy is softmax and cross-entropy over the channels of x (N×K×H×W), given
// for every place the number of its class t, N×1×H×W:
//
//	loss[n,i,j] = log Σₖ exp x[n,k,i,j] − x[n,t,i,j]
//	dx[n,k,i,j] = Scale · (exp x[n,k,i,j] / Σ − [k = t])
//
// with Scale = 1/(N·H·W), so that dx is the gradient of the mean loss. Where t is no
// class's number, loss and dx are NaN.
//
// Source: torch.nn.CrossEntropyLoss.
type CrossEntropy struct{ N, K, H, W int }

// NewCrossEntropy checks the scores' shape. Errors match [ErrShape].
func NewCrossEntropy(x Shape) (CrossEntropy, error) {
	if err := x.Check("input"); err != nil {
		return CrossEntropy{}, err
	}
	if x[1] < 1 || x[2] < 1 || x[3] < 1 {
		return CrossEntropy{}, refuse(ErrShape, "input is %v, classes, rows and columns must be at least 1", x)
	}
	return CrossEntropy{x[0], x[1], x[2], x[3]}, nil
}

// Input returns the shape of x and dx, N×K×H×W.
func (c CrossEntropy) Input() Shape { return Shape{c.N, c.K, c.H, c.W} }

// Places returns the shape of loss and classes, N×1×H×W.
func (c CrossEntropy) Places() Shape { return Shape{c.N, 1, c.H, c.W} }

// Scale is that of the gradient.
func (c CrossEntropy) Scale() float64 { return 1 / float64(max(c.N*c.H*c.W, 1)) }
