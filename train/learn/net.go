package learn

import (
	"fmt"
	"math"

	"vkconv"
	"vkconv/conv"
	"vkconv/train"
)

// Kinds of the layer that looks, in a net which is otherwise the same.
var Kinds = []string{"deformable", "dilated", "plain"}

// Batch is how many pictures a step takes.
const Batch = 16

const (
	grid  = 3 // points of the layer along a side
	reach = 2 // cells between them, unless the layer is plain

	mapSide = 5 // cells of the layer's map along a side
)

// wide spreads the layer's points over its map.
var wide = conv.Params{Dilation: [2]int{reach, reach}}

// offsetLayer is the one that gives the offsets.
const offsetLayer = "look.conv_offset"

// pixel is where in a picture cell c of the layer's map lies: the stem makes a cell
// of four pixels, the first one four pixels from the edge.
func pixel(c float64) float64 { return 4*c + 4.5 }

// New makes the net: a stem that sees 9×9 pixels, then one layer of 3×3 points which
// decides, a channel a class.
//
//	3×26×26 ─ 5×5 s2 ─ 8×11×11 ─ 3×3 s2 ─ 16×5×5 ─ layer ─ classes×1×1
//
// Plain, its points are neighbours and the scores of all 3×3 places are averaged;
// dilated, they spread over the picture; deformable, they start there and move.
func New(e *vkconv.Engine, kind string, classes int, seed uint64) (*train.Net, error) {
	norm := func(name string) train.Layer { return train.BatchNorm(name, conv.BatchNormParams{}) }
	var look train.Layer
	switch kind {
	case "plain":
		look = train.Conv("look", classes, grid, conv.Params{}, true)
	case "dilated":
		look = train.Conv("look", classes, grid, wide, true)
	case "deformable":
		look = train.Deform("look", classes, grid, wide, true)
	default:
		return nil, fmt.Errorf("%w: the layer is %q, must be one of %v", conv.ErrParams, kind, Kinds)
	}
	n, err := train.New(e, conv.Shape{Batch, 3, Size, Size}, seed,
		train.Conv("conv1", 8, 5, conv.Params{Stride: [2]int{2, 2}}, false), norm("bn1"), train.ReLU(),
		train.Conv("conv2", 16, 3, conv.Params{Stride: [2]int{2, 2}}, false), norm("bn2"), train.ReLU(),
		look, train.GlobalPool())
	if err != nil {
		return nil, err
	}
	if err := n.UseAdam(conv.Adam{WeightDecay: decay, Decoupled: true}); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// rate is the learning rate of step i of n: a cosine from its top to 0.
func rate(i, n int) float64 { return 0.01 * (0.5 + 0.5*math.Cos(math.Pi*float64(i)/float64(n))) }

// How the points are made to follow.
const (
	// The offsets stand still for the first steps: while the weights are random, so
	// would be the ways that the points go.
	still = 60
	hasty = 2 // how much faster than the weights offsets are learned then
	// Adam's steps are as long where a gradient is noise as where it is not. A point that
	// does not find the object at once would wander off the picture, where there is no
	// way back; decay (Loshchilov and Hutter 2019) calls it back to the grid. Without it
	// points end at 0.55 of the grid's distance, with it at 0.37 (validation, three seeds).
	decay = 0.1
)

func setRates(n *train.Net, step int) {
	for _, name := range []string{".weight", ".bias"} {
		if p := n.Param(offsetLayer + name); p != nil {
			p.Rate = hasty
			if step < still {
				p.Rate = 0
			}
		}
	}
}

// batch is a batch of pictures.
type batch struct {
	pictures []float32
	masks    [][]bool
	classes  []int
}

func newBatch() *batch {
	b := &batch{pictures: make([]float32, Batch*3*Size*Size), classes: make([]int, Batch)}
	for range Batch {
		b.masks = append(b.masks, make([]bool, Size*Size))
	}
	return b
}

// draw fills the batch with pictures of a split, from number first on.
func (b *batch) draw(d Data, split uint64, first int) {
	for i := range Batch {
		b.classes[i] = d.Sample(split, first+i, b.pictures[i*3*Size*Size:][:3*Size*Size], b.masks[i])
	}
}

// distances are those of every pixel to the nearest one of the mask, in pixels.
func distances(mask []bool) []float64 {
	d := make([]float64, len(mask))
	for i := range d {
		d[i] = math.Inf(1)
		for j, in := range mask {
			if in {
				d[i] = min(d[i], math.Hypot(float64(i/Size-j/Size), float64(i%Size-j%Size)))
			}
		}
	}
	return d
}

// Point is a place in a picture, in pixels from its upper left corner.
type Point struct{ X, Y float64 }

// points are the places that the deformable layer samples in picture i, given the
// offsets of a batch: 18 numbers a picture, (Δy, Δx) of each point in cells. nil
// offsets give the regular grid.
func points(offsets []float32, i int) (p [grid * grid]Point) {
	for q := range p {
		y, x := float64(q/grid*reach), float64(q%grid*reach)
		if offsets != nil {
			o := offsets[(i*grid*grid+q)*2:]
			y, x = y+float64(o[0]), x+float64(o[1])
		}
		p[q] = Point{pixel(x), pixel(y)}
	}
	return p
}

// far is how far points are from a mask, on average, given its distances. What lies
// outside the picture has the way back besides; a net that has come to NaN is nowhere.
func far(d []float64, points [grid * grid]Point) (sum float64) {
	for _, p := range points {
		if math.IsNaN(p.X + p.Y) {
			return math.NaN()
		}
		x, y := min(max(p.X, 0), Size-1e-6), min(max(p.Y, 0), Size-1e-6)
		sum += d[int(y)*Size+int(x)] + math.Hypot(p.X-x, p.Y-y)
	}
	return sum / float64(len(points))
}
