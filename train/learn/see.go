package learn

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
	"vkconv/train"
	"vkconv/vis"
)

// classesKey is under which a file of weights keeps the classes' names.
const classesKey = "classes"

// save writes a net's weights, PyTorch's names and all, and its classes' names.
func save(ctx context.Context, n *train.Net, path string, names []string) error {
	state, err := n.State(ctx, false)
	if err != nil {
		return err
	}
	return tensorio.WriteSafetensors(path, state, map[string]string{classesKey: strings.Join(names, ",")})
}

// Trained is a deformable net that has been trained.
type Trained struct {
	net   *train.Net
	Names []string // of its classes
}

// Load makes the net of a .safetensors file that [Run] wrote. Classes of a file that
// does not name them are numbers. Errors match [conv.ErrShape] where the file holds
// another net.
func Load(e *vkconv.Engine, path string) (*Trained, error) {
	f, err := tensorio.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !f.Has(offsetLayer + ".weight") {
		return nil, fmt.Errorf("%w: %s has no %s.weight: it is not of the deformable network of convbench learn", conv.ErrShape, path, offsetLayer)
	}
	info, err := f.Info("look.weight")
	if err != nil {
		return nil, err
	}
	if len(info.Shape) != 4 || info.Shape[0] < 1 || info.Shape[0] > 1000 {
		return nil, fmt.Errorf("%w: %s: look.weight is %v, must be classes×16×3×3", conv.ErrShape, path, info.Shape)
	}
	t := &Trained{Names: strings.Split(f.Metadata()[classesKey], ",")}
	if len(t.Names) != info.Shape[0] {
		t.Names = nil
		for c := range info.Shape[0] {
			t.Names = append(t.Names, strconv.Itoa(c))
		}
	}
	if t.net, err = New(e, "deformable", len(t.Names), 1); err != nil {
		return nil, err
	}
	if err := t.net.Load(path); err != nil {
		t.net.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Close gives back what the net holds on the device.
func (t *Trained) Close() { t.net.Close() }

// Seen is what a net makes of a picture.
type Seen struct {
	Shares []float64 // how sure it is of each class; together 1
	Level  vis.Level // what its deformable layer samples
	Cells  vis.Cells // where the cells of that layer's map lie in the picture
}

// See shows the net a picture, 1×1×H×W or 1×3×H×W, as a whole: brought to the net's
// size as those of a [Set] are.
func (t *Trained) See(ctx context.Context, m tensorio.Image) (s Seen, err error) {
	c, h, w := m.Shape[1], m.Shape[2], m.Shape[3]
	if m.Shape[0] != 1 || c != 1 && c != 3 || h < 2 || w < 2 || len(m.Pix) != m.Shape.Len() {
		return s, fmt.Errorf("%w: the picture is %v, must be 1×1×H×W or 1×3×H×W, of at least 2×2 pixels", conv.ErrShape, m.Shape)
	}
	values := make([]float64, len(m.Pix))
	for i, v := range m.Pix {
		values[i%(h*w)*c+i/(h*w)] = float64(v)
	}
	picture, _ := fit(values, h, w, c, 1)
	b := newBatch()
	for i := range Batch {
		copy(b.pictures[i*len(picture):], picture)
	}
	result, err := t.net.Test(ctx, b.pictures, b.classes)
	if err != nil {
		return s, err
	}
	at := t.net.Tensor("look.offset")
	offset := make([]float32, at.Shape().Len())
	if err := at.Download(ctx, offset); err != nil {
		return s, err
	}
	p, err := wide.DeformProblem(conv.Deform{}, conv.Shape{1, 1, mapSide, mapSide}, conv.Shape{1, 1, grid, grid}, false)
	if err != nil {
		return s, err
	}
	s.Level = vis.LevelOf(p, offset[:p.Offset().Len()], nil, 0)
	for axis, side := range [2]int{h, w} { // pixel counts from the corner
		per := float64(side) / Size
		s.Cells.Step[axis], s.Cells.First[axis] = (pixel(1)-pixel(0))*per, pixel(0)*per-0.5
	}
	s.Shares = softmax(result.Scores[:len(t.Names)])
	return s, nil
}

func softmax(scores []float32) []float64 {
	most, sum := math.Inf(-1), 0.0
	for _, v := range scores {
		most = max(most, float64(v))
	}
	out := make([]float64, len(scores))
	for i, v := range scores {
		out[i] = math.Exp(float64(v) - most)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}
