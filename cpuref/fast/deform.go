package fast

import (
	"context"
	"fmt"
	"unsafe"

	"vkconv/conv"
)

// DeformConv2D is a plan of torchvision's deform_conv2d: see
// [vkconv/cpuref.DeformConv2D] for the formula. Make one with
// [NewDeformConv2D]; its methods may be called from any number of goroutines.
type DeformConv2D struct {
	*layout
	sample func(dst []float32, dstStride int, src []float32, srcStride, n int, plans []sample4)
}

// NewDeformConv2D packs weight (K×C/groups×R×S) and bias (K elements, only
// looked at with p.Bias) into a plan for the problem. Errors match
// [conv.ErrShape], [conv.ErrParams] or [conv.ErrUnsupported].
func NewDeformConv2D(pool *Pool, p conv.Problem, weight, bias []float32) (*DeformConv2D, error) {
	if !p.Deformable() {
		return nil, fmt.Errorf("fast: the problem has no offset groups, NewDeformConv2D needs one at least: %w", conv.ErrParams)
	}
	l, err := newLayout(pool, p, whole, 256)
	if err != nil {
		return nil, err
	}
	d := &DeformConv2D{layout: l, sample: l.ks.sample}
	if p.W < 2 {
		d.sample = sampleGo // the vector kernels read two neighbours at once
	}
	return d, d.SetWeights(weight, bias)
}

// Run computes y (N×K×Ho×Wo) from x (N×C×H×W), offset
// (N×(2·offsetGroups·R·S)×Ho×Wo) and mask (N×(offsetGroups·R·S)×Ho×Wo, only
// looked at with p.Mask). It allocates nothing once the workers' buffers have
// grown. When ctx ends it returns the context's error within the time of a
// tile, and y holds nothing of use.
func (d *DeformConv2D) Run(ctx context.Context, y, x, offset, mask []float32) error {
	p := d.p
	if err := length("y", y, p.Output().Len(), p.Output()); err != nil {
		return err
	}
	if err := length("x", x, p.Input().Len(), p.Input()); err != nil {
		return err
	}
	if err := length("offset", offset, p.Offset().Len(), p.Offset()); err != nil {
		return err
	}
	if p.Mask {
		if err := length("mask", mask, p.MaskShape().Len(), p.MaskShape()); err != nil {
			return err
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.pool.run(ctx, d, d.tiles(), y, x, offset, mask)
}

// SetWeights packs other weights (K×C/groups×R×S) and biases (K elements; only
// looked at with a problem that has a bias) into the plan. It waits for runs in
// progress.
func (d *DeformConv2D) SetWeights(weight, bias []float32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.setWeights(weight, bias)
}

// Workspace returns the bytes that runs need beyond inputs, outputs and packed
// weights. It does not depend on the image's size, and plans of one pool share it.
func (d *DeformConv2D) Workspace() int64 {
	return d.workspace() + int64(d.pool.workers)*d.planBytes()
}

// planBytes is what the plans of a tile's samples take.
func (d *DeformConv2D) planBytes() int64 {
	return int64(d.tapChunk()*d.cols/4)*int64(unsafe.Sizeof(sample4{})) + int64(2*4*d.cols)
}

// Describe says how the plan computes: algorithm, instruction set, tile.
func (d *DeformConv2D) Describe() string {
	return fmt.Sprintf("implicit GEMM over sampled panels, %s", d.layout.describe())
}

func (d *DeformConv2D) tile(i int, j *job, s *scratch) {
	u := d.unit(i)
	panel := growAligned(&s.panel, d.panelLen())
	var live []int32
	d.blocks(u.g0, u.g1, func(og, t0, t1 int) {
		live = d.planSamples(&u, s, j.offset, j.mask, og, t0, t1)
	}, func(b block) {
		d.sampleBlock(&u, s, panel, j.x, b.c0, b.c1, live)
		d.multiply(&u, b, live, panel, j.y, s)
	})
	d.finish(&u, j.y, s)
}

// sampleBlock samples channels [c0, c1) of image n at the live taps into panels.
func (d *DeformConv2D) sampleBlock(u *unit, s *scratch, panel, x []float32, c0, c1 int, live []int32) {
	p, lanes := &d.p, d.ks.lanes
	plane, n := p.H*p.W, c1-c0
	src := x[(u.n*p.C+c0)*plane:][:n*plane]
	rows := n * len(live)
	quads := u.vectors * lanes / 4 // plans of four lanes at each tap
	for i := range u.subs {
		v0, nv := u.sub(i)
		dst := panel[rows*v0*lanes:][:rows*nv*lanes]
		for t := range live {
			plans := s.samples[t*quads+v0*lanes/4:][:nv*lanes/4]
			d.sample(dst[t*n*nv*lanes:], nv*lanes, src, plane, n, plans)
		}
	}
}
