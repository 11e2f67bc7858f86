//go:build cgo

package kernels

import (
	"fmt"
	"sort"

	"vkconv/conv"
	"vkconv/gpu"
)

// bands computes the gradient by the input, or a transposed convolution, where one
// image passes a binding: band after band of rows, each made of the rows of dy
// whose taps reach it. A row's sums are those of the whole, so the bits are.
//
//	dy  K planes ┌────────┐       ┌────────┐       ┌────────┐ dx  C planes
//	             │▒▒▒▒▒▒▒▒│ copy─ │▒▒▒▒▒▒▒▒│ pass─ │░░░░░░░░│
//	             │▒▒▒▒▒▒▒▒│       └────────┘ copy─ │        │
//	             └────────┘        K bands         └────────┘
//
// The last band starts early enough to be whole. Padding is with zeros.
type bands struct {
	of   conv.Problem
	part conv.Problem // of a band: H rows of dx from Ho rows of dy
	pass *pass
	scratch
	in, out *gpu.Buffer // bands of dy and dx
}

func newBands(m maker, of conv.Problem, biased bool, a conv.Activation) (*bands, error) {
	b := &bands{of: of, part: of, scratch: scratch{device: m.device}}
	b.part.N = 1
	most := min(m.traits.StorageRange/4, 1<<31-1<<17)
	for _, room := range []int64{min(bandBytes/4, most), most} {
		// fits tells whether so many rows do; more need more.
		fits := func(rows int) bool {
			return int64(max(of.C*rows*of.W, of.K*b.reach(rows)*of.Wo)) <= room
		}
		if b.part.H = sort.Search(of.H, func(i int) bool { return !fits(i + 1) }); b.part.H > 0 {
			break
		}
	}
	if b.part.H == 0 {
		return nil, fmt.Errorf("kernels: %w: one row of the gradient by the input, or the rows of the output that read it, takes more than the %d bytes that a binding on this device holds", gpu.ErrTooLarge, m.traits.StorageRange)
	}
	b.part.Ho = b.reach(b.part.H)
	var err error
	if b.pass, err = newInputPass(m, b.part, biased, a); err != nil {
		return nil, err
	}
	if b.in, err = b.buffer(b.part.Output().Len()); err == nil {
		b.out, err = b.buffer(b.part.Input().Len())
	}
	if err != nil {
		b.free()
		return nil, err
	}
	return b, nil
}

// reach is how many rows of dy read so many rows of the input, at most.
func (b *bands) reach(rows int) int {
	return min(b.of.Ho, (rows-1+(b.of.R-1)*b.of.DilationY)/b.of.StrideY+1)
}

// record records all bands of all images.
func (b *bands) record(s *gpu.Stream, dx, dy Tensor, weights, biases span) error {
	of, part := &b.of, &b.part
	in, out := span{Tensor{Buf: b.in}, part.Output().Len()}, span{Tensor{Buf: b.out}, part.Input().Len()}
	for image := range of.N {
		from, to := dy, dx
		from.Offset += 4 * int64(image) * int64(of.K*of.Ho*of.Wo)
		to.Offset += 4 * int64(image) * int64(of.C*of.H*of.W)
		for row := range starts(of.H, part.H) {
			// Output row o reads rows o·stride − top + r·dilation.
			first := ceil(max(0, row+of.Pad.Top-(of.R-1)*of.DilationY), of.StrideY)
			first = min(first, of.Ho-part.Ho)
			if err := copyBand(s, in.Tensor, from, rowsOf{of.Wo, of.Ho, first, part.Ho}, of.K, false); err != nil {
				return err
			}
			push := patched(b.pass.module, b.pass.push)
			push.set("top", of.Pad.Top+row-first*of.StrideY)
			if err := b.pass.recordWith(s, push.push(), &[maxSpans]span{in, weights, biases, out}); err != nil {
				return err
			}
			if err := copyBand(s, out.Tensor, to, rowsOf{of.W, of.H, row, part.H}, of.C, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// copyBand copies rows of so many planes into a band or, back, out of it.
func copyBand(s *gpu.Stream, band, whole Tensor, rows rowsOf, planes int, back bool) error {
	for i := range planes {
		bytes := 4 * int64(rows.elements())
		inBand, inWhole := band.Offset+int64(i)*bytes, whole.Offset+4*int64(rows.at(i))
		var err error
		if back {
			err = s.Copy(whole.Buf, inWhole, band.Buf, inBand, bytes)
		} else {
			err = s.Copy(band.Buf, inBand, whole.Buf, inWhole, bytes)
		}
		if err != nil {
			return fmt.Errorf("kernels: %w", err)
		}
	}
	return nil
}

func (b *bands) describe() string {
	return fmt.Sprintf("%s; %d of %d rows at a time", b.pass.module.Name, b.part.H, b.of.H)
}

func (b *bands) free() {
	b.in.Free()
	b.out.Free()
}

// bandedGradient is a gradient by the input that goes by bands.
type bandedGradient struct {
	*bands
	weight *gpu.Buffer
}

func newBandedGradient(m maker, p conv.Problem, weight []float32) (*bandedGradient, error) {
	b, err := newBands(m, p, false, conv.Activation{})
	if err != nil {
		return nil, err
	}
	g := &bandedGradient{bands: b}
	if g.weight, err = m.device.NewBuffer(4 * int64(p.Weight().Len())); err == nil {
		err = g.setWeights(weight)
	}
	if err != nil {
		g.Close()
		return nil, fmt.Errorf("kernels: weight: %w", err)
	}
	return g, nil
}

func (g *bandedGradient) recordInput(s *gpu.Stream, dx, dy Tensor) error {
	w := span{Tensor{Buf: g.weight}, g.of.Weight().Len()}
	return g.record(s, dx, dy, w, w)
}

func (g *bandedGradient) setWeights(weight []float32) error {
	return g.device.Upload(g.weight, 0, bytesOf(weight))
}

func (g *bandedGradient) Workspace() int64 { return g.size }
func (g *bandedGradient) Describe() string { return g.describe() }

func (g *bandedGradient) Close() {
	g.free()
	g.weight.Free()
}
