package explain

import (
	"fmt"

	"vkconv/conv"
)

// Row is what one layer does, and what an output behind it sees. Pairs are
// rows, columns.
type Row struct {
	Name     string     `json:"name,omitempty"`
	Layer    string     `json:"layer"`
	Branch   bool       `json:"branch,omitempty"` // side by side with its neighbours
	Kernel   [2]int     `json:"kernel"`
	Stride   [2]int     `json:"stride"`
	Dilation [2]int     `json:"dilation"`
	Padding  [2]int     `json:"padding"` // on each side
	Output   conv.Shape `json:"output"`
	Alone    [2]int     `json:"field_alone"`
	Stacked  [2]int     `json:"field_stacked"`
	Jump     [2]int     `json:"jump"` // pixels between the fields of neighbouring outputs
	Unseen   int        `json:"unseen"`
	Params   int64      `json:"parameters"`
	MACs     int64      `json:"multiply_adds"`
}

// Rates is a series of layers with the hybrid-dilation check of Wang et al.
// 2018, see [conv.HybridDilation].
type Rates struct {
	Kernel int   `json:"kernel"`
	Rates  []int `json:"rates"`
	Gap    int   `json:"gap"` // M₂
	OK     bool  `json:"ok"`
}

// Report is what there is to say about a stack.
type Report struct {
	Name   string     `json:"name,omitempty"`
	About  string     `json:"about,omitempty"`
	Input  conv.Shape `json:"input"`
	Rows   []Row      `json:"layers"`
	Field  [2]int     `json:"field"`
	Start  [2]int     `json:"start"` // first pixel of output (0, 0); negative in the padding
	Jump   [2]int     `json:"jump"`
	Unseen int        `json:"unseen"` // pixels of the field that are never read
	Params int64      `json:"parameters"`
	MACs   int64      `json:"multiply_adds"`
	Hybrid []Rates    `json:"hybrid_dilation,omitempty"`
	Others []Other    `json:"as_far_see"`
	// Deforms tells that a layer is deformable: fields are those with offsets of 0.
	Deforms bool `json:"deformable,omitempty"`

	Effective *Effective `json:"effective_field,omitempty"` // where it was measured

	Reads Reads `json:"-"`
}

// mostPaths is how many ways through branches are followed.
const mostPaths = 64

// Explain follows a stack over an input of N×C×H×W. Errors match [ErrText],
// [conv.ErrParams] or [conv.ErrShape].
func Explain(stack Stack, input conv.Shape) (*Report, error) {
	r := &Report{Input: input}
	paths := []path{emptyPath()}
	x := input
	for i, stage := range stack {
		var next []path
		out := conv.Shape{}
		for k, l := range stage {
			fail := func(err error) error { return fmt.Errorf("layer %d, %v: %w", i+1, l, err) }
			p, err := l.problem(x)
			if err != nil {
				return nil, fail(err)
			}
			if len(next)+len(paths) > mostPaths {
				return nil, fail(refuse("there are more than %d ways through the branches", mostPaths))
			}
			through := make([]path, 0, len(paths))
			for _, before := range paths {
				longer, ok := before.with(l)
				if !ok {
					return nil, fail(refuse("its field is wider than %d pixels, more than is looked at", widest))
				}
				through = append(through, longer)
			}
			next = append(next, through...)
			y := p.Output()
			if k > 0 {
				if y[2] != out[2] || y[3] != out[3] || through[0].field[0].Jump != next[0].field[0].Jump || through[0].field[1].Jump != next[0].field[1].Jump {
					return nil, fail(refuse("its output is %d×%d, beside one of %d×%d; branches must keep step", y[2], y[3], out[2], out[3]))
				}
				y[1] += out[1]
			}
			out = y
			r.Deforms = r.Deforms || l.Deforms
			r.Rows = append(r.Rows, row(l, p, through, len(stage) > 1))
		}
		paths, x = next, out
	}
	for _, row := range r.Rows {
		r.Params += row.Params
		r.MACs += row.MACs
	}
	r.Reads = readsOf(paths)
	for axis := range 2 {
		f := fieldOf(paths, axis)
		r.Field[axis], r.Start[axis], r.Jump[axis] = f.Size, f.Start, f.Jump
	}
	r.Unseen = r.Field[0]*r.Field[1] - r.Reads.Seen()
	r.Hybrid = hybrid(stack)
	r.Others = r.others()
	return r, nil
}

// problem is the layer's convolution of an input.
func (l Layer) problem(x conv.Shape) (conv.Problem, error) {
	out, groups := l.Channels, l.Groups
	if out == 0 {
		out = x[1]
	}
	if l.Depthwise || l.Pools {
		groups = x[1]
	}
	params := conv.Params{Stride: l.Stride, Dilation: l.Dilation, Groups: groups,
		Padding: conv.Padding{Top: l.Padding[0], Left: l.Padding[1], Bottom: l.Padding[0], Right: l.Padding[1]}}
	p, err := params.Problem(x, conv.Shape{out, max(x[1]/max(groups, 1), 1), l.Kernel[0], l.Kernel[1]}, l.Bias)
	if y := p.Output(); err == nil && float64(p.Weight().Len())*float64(y[0])*float64(y[2])*float64(y[3]) > mostMACs {
		err = refuse("it takes more than %g multiply-adds", float64(mostMACs))
	}
	return p, err
}

// mostMACs is what a layer may take, so that the sum over all can be counted.
const mostMACs = 1e15

func row(l Layer, p conv.Problem, paths []path, branch bool) Row {
	r := Row{Name: l.Name, Layer: l.String(), Branch: branch, Kernel: l.Kernel, Stride: l.Stride, Dilation: l.Dilation, Padding: l.Padding, Output: p.Output()}
	for axis := range 2 {
		f := fieldOf(paths, axis)
		r.Alone[axis] = conv.Reach(l.Kernel[axis], l.Dilation[axis])
		r.Stacked[axis], r.Jump[axis] = f.Size, f.Jump
	}
	r.Unseen = r.Stacked[0]*r.Stacked[1] - readsOf(paths).Seen()
	if cost := p.Cost(); !l.Pools {
		r.Params, r.MACs = cost.Params, cost.MACs
	}
	return r
}

// hybrid finds series of layers of one square kernel that dilate, with nothing
// but 1×1 kernels of stride 1 between them, and checks each.
func hybrid(stack Stack) (found []Rates) {
	kernel, rates := 0, []int(nil)
	end := func() {
		dilated := false
		for _, r := range rates {
			dilated = dilated || r > 1
		}
		if len(rates) > 1 && dilated {
			gap, ok := conv.HybridDilation(kernel, rates...)
			found = append(found, Rates{kernel, rates, gap, ok})
		}
		rates = nil
	}
	for _, stage := range stack {
		l := stage[0]
		plain := len(stage) == 1 && l.Kernel[0] == l.Kernel[1] && l.Dilation[0] == l.Dilation[1] && !l.Pools
		if plain && l.Kernel[0] == 1 && l.Stride == [2]int{1, 1} {
			continue
		}
		if !plain || l.Kernel[0] != kernel {
			end()
		}
		if plain && l.Kernel[0] > 1 {
			kernel = l.Kernel[0]
			rates = append(rates, l.Dilation[0])
		}
		if l.Stride != [2]int{1, 1} {
			end()
		}
	}
	end()
	return found
}
