package onnx

import (
	"context"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/onnx/internal/pb"
)

// A convolution of volumes (images × channels × planes × rows × columns) is one of
// images whose channels are the planes of all channels, in the order in which they
// lie in memory. Its weight is a band: from plane d to plane z leads the tap t with
//
//	z·stride − pad + t·dilation = d        (transposed: d·stride − pad + t·dilation = z)
//
// and 0 where there is none. So the work is by the number of planes over the number
// of taps more than it had to be, which small networks can bear; and a pixel that is
// infinite or NaN makes NaN of every plane, by 0 · ∞.
//
//	             planes of channel 0    1
//	             ┌─────────┬─────────┐
//	kernel 0     │ t0 t1   │ t0 t1   │  plane 0
//	             │    t0 t1│    t0 t1│  plane 1
//	             ├─────────┼─────────┤
//	kernel 1     │ …       │         │

// volumes is a rank of volumes, with images and channels.
const volumes = 5

// along is the node as it slides along some of its spatial axes, from one to before another of three.
func (n *node) along(from, to int) (*node, error) {
	part := *n
	part.attrs = map[string]*pb.AttributeProto{}
	for name, a := range n.attrs {
		list, each := a.GetInts(), 1
		switch name {
		case "pads":
			each = 2
		case "output_shape":
			if len(list) == volumes { // all extents, as some exporters write it
				list = list[2:]
			}
		case "strides", "dilations", "kernel_shape", "output_padding":
		default:
			part.attrs[name] = a
			continue
		}
		if len(list) != 3*each {
			return nil, misfit("%v has %s %v, must have %d for its 3 axes", n, name, list, 3*each)
		}
		var some []int64
		for i := 0; i < len(list); i += 3 {
			some = append(some, list[i+from:i+to]...)
		}
		part.attrs[name] = &pb.AttributeProto{Ints: some}
	}
	return &part, nil
}

// inferVolume plans a Conv or ConvTranspose of volumes.
func inferVolume(p *planner, n *node, transposed bool) (*planned, error) {
	x, err := p.device(n, 0)
	if err != nil {
		return nil, err
	}
	f, err := p.filter(n, volumes, 2, transposed)
	if err != nil {
		return nil, err
	}
	kernel := p.values[n.inputs[1]].dims[2:]
	deep, err1 := n.along(0, 1)
	flat, err2 := n.along(1, 3)
	if err := first(err1, err2); err != nil {
		return nil, err
	}
	line := conv.Shape{x.dims[0], x.dims[1], 1, x.dims[2]} // the planes, as the columns of an image
	s := conv.Shape{x.dims[0], x.dims[1] * x.dims[2], x.dims[3], x.dims[4]}
	var b band
	var params conv.Params
	var extra [2]int
	taps := conv.Shape{f.shape[0], f.shape[1], 1, kernel[0]}
	var across conv.Shape // what comes out of line
	if transposed {
		var depth conv.Params
		var more [2]int
		depth, more, err1 = deep.transposedWindow(line, 3, [2]int{1, kernel[0]})
		params, extra, err2 = flat.transposedWindow(s, 4, [2]int(kernel[1:]))
		if err := first(err1, err2); err != nil {
			return nil, err
		}
		t, err := depth.TransposedProblem(line, taps, more, f.bias != nil)
		if err != nil {
			return nil, n.wrap(err)
		}
		across = t.Output()
		b = band{f.shape[0], f.shape[1], x.dims[2], across[3], kernel, depth}
	} else {
		depth, err1 := deep.window(line, 3, [2]int{1, kernel[0]})
		params, err2 = flat.window(s, 4, [2]int(kernel[1:]))
		if err := first(err1, err2); err != nil {
			return nil, err
		}
		q, err := depth.Problem(line, taps, f.bias != nil)
		if err != nil {
			return nil, n.wrap(err)
		}
		across = q.Output()
		b = band{f.shape[0], f.shape[1], across[3], x.dims[2], kernel, depth}
	}
	if err := p.affordable(n, b.dims()); err != nil {
		return nil, err
	}
	weight := conv.Shape{b.outer * b.outerPlanes, b.inner * b.innerPlanes, kernel[1], kernel[2]}
	exact, bias := b.of(f.exact), repeated(f.bias, across[3])
	weight32, bias32 := narrow(exact), narrow(bias)
	if bias == nil {
		bias32 = nil
	}
	params.Activation = f.act
	q := &planned{in: []*value{x}, whole: 1, outWhole: true}
	if transposed {
		t, err := params.TransposedProblem(s, weight, extra, bias != nil)
		if err != nil {
			return nil, n.wrap(err)
		}
		q.dims = unfolded(t.Output(), across)
		q.make = func() (layer, error) {
			l, err := p.e.NewConvTranspose2D(s, weight32, bias32, weight, params, extra)
			return folded(l, err, s, t.Output())
		}
		q.oracle = func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.ConvTranspose2D(t, wide(in[0]), exact, bias), conv.ProductRoundings + f.roundings
		}
		return q, nil
	}
	problem, err := params.Problem(s, weight, bias != nil)
	if err != nil {
		return nil, n.wrap(err)
	}
	q.dims, q.every = unfolded(problem.Output(), across), cpuref.Every(problem)
	q.make = func() (layer, error) {
		l, err := p.e.NewConv2D(s, weight32, bias32, weight, params)
		return folded(l, err, s, problem.Output())
	}
	q.oracle = func(in [][]float32) ([]conv.Sum, int) {
		return cpuref.Conv2DEvery(problem, wide(in[0]), exact, bias, q.every), conv.ProductRoundings + f.roundings
	}
	return q, nil
}

// band is a weight of volumes as one of images: of the convolution, outer are its
// kernels and inner their channels; of the transposed one the other way round.
type band struct {
	outer, inner             int
	outerPlanes, innerPlanes int
	kernel                   []int       // planes, rows, columns
	along                    conv.Params // of the planes, in the columns' place
}

func (b band) dims() []int {
	return []int{b.outer, b.outerPlanes, b.inner, b.innerPlanes, b.kernel[1] * b.kernel[2]}
}

// of spreads a weight over the band. Either way it is the outer plane that times the
// stride is where the taps begin.
func (b band) of(w []float64) []float64 {
	area := b.kernel[1] * b.kernel[2]
	out := make([]float64, b.outer*b.outerPlanes*b.inner*b.innerPlanes*area)
	for o := range b.outer {
		for z := range b.outerPlanes {
			for i := range b.inner {
				for t := range b.kernel[0] {
					d := z*b.along.Stride[1] - b.along.Padding.Left + t*b.along.Dilation[1]
					if d < 0 || d >= b.innerPlanes {
						continue
					}
					to := (((o*b.outerPlanes+z)*b.inner+i)*b.innerPlanes + d) * area
					copy(out[to:to+area], w[((o*b.inner+i)*b.kernel[0]+t)*area:])
				}
			}
		}
	}
	return out
}

// repeated is a bias for every plane of its channel; nil stays nil.
func repeated(bias []float64, planes int) []float64 {
	var out []float64
	for _, v := range bias {
		for range planes {
			out = append(out, v)
		}
	}
	return out
}

// unfolded gives the planes of an output an axis of their own again.
func unfolded(y, across conv.Shape) []int { return []int{y[0], across[1], across[3], y[2], y[3]} }

// folded is single for a layer that takes planes as channels.
func folded[L interface {
	doorLayer
	Run(ctx context.Context, y, x *vkconv.Tensor) error
}](l L, err error, x, y conv.Shape) (layer, error) {
	if err != nil {
		return layer{}, err
	}
	return layer{func(ctx context.Context, out *vkconv.Tensor, in []*vkconv.Tensor) error {
		to, err1 := out.Reshape(y)
		from, err2 := in[0].Reshape(x)
		if err := first(err1, err2); err != nil {
			return err
		}
		return l.Run(ctx, to, from)
	}, l}, nil
}

// first returns the first error there is.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
