package conv

import "fmt"

// ASPPParams say what the atrous spatial pyramid pooling of DeepLab v3 (Chen et
// al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017)
// computes: a 1×1 convolution, 3×3 ones of several dilations and the image's mean
// behind a 1×1 one, concatenated and projected by a 1×1 one.
type ASPPParams struct {
	Channels int   // outputs of each branch
	Out      int   // outputs of the projection
	Rates    []int // dilations of the 3×3 branches
	// Activation goes behind every convolution, the projection too.
	Activation Activation
}

// ASPP is an ASPP with every number known, a convolution for each of its
// layers. Make one by [ASPPParams.Problem].
type ASPP struct {
	Branches []Problem  // 1×1, then 3×3 of each rate: N×C×H×W to N×Channels×H×W
	Mean     GlobalPool // N×C×1×1
	Pool     Problem    // 1×1 behind the mean
	Spread   Resize     // back to H×W
	Project  Problem    // 1×1, of the concatenation of the branches and of what was spread
}

// Problem checks an ASPP of an input x (N×C×H×W), all of whose layers have a
// bias. Errors match [ErrParams] or [ErrShape].
func (p ASPPParams) Problem(x Shape) (a ASPP, err error) {
	if p.Channels < 1 || p.Out < 1 {
		return ASPP{}, refuse(ErrParams, "an ASPP has %d channels a branch and %d outputs, both must be at least 1", p.Channels, p.Out)
	}
	layer := func(name string, x Shape, k, size, rate int) Problem {
		if err != nil {
			return Problem{}
		}
		params := Params{Dilation: [2]int{rate, rate}, Padding: Pad(rate * (size / 2)), Activation: p.Activation}
		q, e := params.Problem(x, Shape{k, x[1], size, size}, true)
		if e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
		return q
	}
	a.Branches = append(a.Branches, layer("1×1 branch", x, p.Channels, 1, 1))
	for i, rate := range p.Rates {
		if rate < 1 || rate > MaxExtent {
			return ASPP{}, refuse(ErrParams, "rate %d of the ASPP is %d, must be at least 1", i, rate)
		}
		a.Branches = append(a.Branches, layer(fmt.Sprintf("branch of rate %d", rate), x, p.Channels, 3, rate))
	}
	if err != nil {
		return ASPP{}, err
	}
	if a.Mean, err = NewGlobalPool(x); err != nil {
		return ASPP{}, err
	}
	a.Pool = layer("image pooling", a.Mean.Output(), p.Channels, 1, 1)
	if err != nil {
		return ASPP{}, err
	}
	if a.Spread, err = NewResize(a.Pool.Output(), x[2], x[3], false); err != nil {
		return ASPP{}, err
	}
	a.Project = layer("projection", Shape{x[0], (len(a.Branches) + 1) * p.Channels, x[2], x[3]}, p.Out, 1, 1)
	return a, err
}

// Input returns the input's shape, N×C×H×W.
func (a ASPP) Input() Shape { return a.Branches[0].Input() }

// Output returns the output's shape, N×Out×H×W.
func (a ASPP) Output() Shape { return a.Project.Output() }

// Layers returns the convolutions in the order of their weights: 1×1, those of
// the rates, that behind the mean, the projection.
func (a ASPP) Layers() []Problem {
	return append(append([]Problem{}, a.Branches...), a.Pool, a.Project)
}
