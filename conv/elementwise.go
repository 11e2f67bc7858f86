package conv

// Elementwise is the sum of two tensors of one shape, or an activation of one.
type Elementwise struct {
	Shape      Shape
	Sum        bool
	Activation Activation // where it is no sum
}

// Input returns the shape of what goes in.
func (e Elementwise) Input() Shape { return e.Shape }

// Output returns the same.
func (e Elementwise) Output() Shape { return e.Shape }
