//go:build cgo

package kernels

import (
	"fmt"
	"strings"

	"vkconv/conv"
	"vkconv/gpu"
)

// A convolution whose tensors pass what a binding may cover is computed in
// pieces of one shape, whose plan serves them all. The last piece of an axis
// starts early enough to be whole, and what it computes again comes out the same:
//
//	rows    ├── piece ──┼── piece ──┼── piece ──┤
//	                                      ├── piece ──┤
//
// Pieces of whole images are bound where they lie. Where not even one image fits,
// a band of its rows is gathered, together with the rows that its taps reach, the
// padding above and below made solid, and the result is put back:
//
//	x  C planes ┌────────┐         ┌────────┐         ┌────────┐ y  K planes
//	            │▒▒▒▒▒▒▒▒│ ──copy─ │▒▒▒▒▒▒▒▒│ ─ conv ─ │░░░░░░░░│
//	            │▒▒▒▒▒▒▒▒│         └────────┘   copy ─ │        │
//	            └────────┘          C bands            └────────┘
//
// A deformable convolution reads x where its offsets say, so there x stays whole
// (where it cannot, see deformblocks.go).
// Weights beyond a binding are cut by output channels, with several groups by whole
// groups. A sum is added up in the same order as ever, so the bits are those of the
// same kernel on the whole problem.
type piecewise struct {
	device *gpu.Device
	pieces
	blocks []*operator        // one for each range of output channels
	room   [slots]*gpu.Buffer // of the bands
	size   int64
}

// pieces says how a problem is cut.
type pieces struct {
	whole  conv.Problem // normal
	part   conv.Problem // of every piece
	launch launch       // part's
	banded bool         // a piece is rows of one image, not whole images
	blocks int
}

// bandBytes bounds a band of a tensor where a single row does not need more, so
// that the workspace stays small. Bands are copied at a speed that does not
// depend on their size from about a MiB on.
const bandBytes = 64 << 20

// granule is the largest alignment of a binding's start that Vulkan lets a device
// ask for: a view may have so many bytes before its first element.
const granule = 256

// blockAt is the first output channel of a block, and its first input channel.
func (p *pieces) blockAt(b int) (k, c int) {
	k = min(b*p.part.K, p.whole.K-p.part.K)
	if p.whole.Groups > 1 {
		c = k / (p.whole.K / p.whole.Groups) * (p.whole.C / p.whole.Groups)
	}
	return k, c
}

// cutUp finds the largest pieces that fit.
func cutUp(p conv.Problem, t traits) (pieces, error) {
	p = normal(p)
	var failed error
	limitless := t
	limitless.StorageRange = 1 << 62
	favourite, _ := choose(p, limitless) // its kernel is taken if it can be
	for blocks := 1; ; blocks *= 2 {
		c, ok := p, false
		c.K, c.C, c.Groups, ok = block(p, blocks)
		if !ok {
			break
		}
		cut := pieces{whole: p, part: c, blocks: ceil(p.K, c.K)}
		if failed = cut.fit(t); failed != nil {
			continue
		}
		if favourite.module != nil {
			l, why, err := plan(cut.part, t, favourite.variant)
			if why == "" && err == nil {
				cut.launch = l
				return cut, nil
			}
		}
		if cut.launch, failed = choose(cut.part, t); failed == nil {
			return cut, nil
		}
	}
	return pieces{}, failed
}

// block is a problem's part with so many blocks of output channels; false where
// it cannot be cut so.
func block(p conv.Problem, blocks int) (k, c, groups int, ok bool) {
	switch {
	case blocks == 1:
		return p.K, p.C, p.Groups, true
	case p.Groups == 1 && blocks < 2*p.K:
		return ceil(p.K, blocks), p.C, 1, true
	case p.Groups > 1 && !p.Deformable() && blocks < 2*p.Groups:
		groups = ceil(p.Groups, blocks)
		return groups * (p.K / p.Groups), groups * (p.C / p.Groups), groups, true
	}
	return 0, 0, 0, false
}

// fit gives the part as many images or, if none fits, rows as bindings hold.
func (p *pieces) fit(t traits) error {
	whole, part := &p.whole, &p.part
	most := imageRoom(*whole, t)
	image := whole.C * whole.H * whole.W
	perRow := max(part.K, 1) * whole.Wo
	if whole.Deformable() {
		perRow = max(perRow, 2*whole.OffsetGroups*whole.Taps()*whole.Wo)
	}
	largest := max(image, whole.K*whole.Ho*whole.Wo, perRow*whole.Ho)
	if images := most / 4 / int64(largest); images > 0 || whole.N == 0 {
		part.N = int(min(int64(whole.N), images))
		return nil
	}
	p.banded = true
	part.N = 1
	if whole.Deformable() && 4*int64(image) > most {
		return fmt.Errorf("%w: an image of the input takes %d bytes; a deformable convolution needs it in one binding, which on this device holds at most %d",
			gpu.ErrTooLarge, 4*image, t.StorageRange)
	}
	for _, room := range []int64{min(bandBytes, most), most} {
		if part.Ho = p.rows(room/4, perRow); part.Ho > 0 {
			break
		}
	}
	if part.Ho == 0 {
		return fmt.Errorf("%w: one row of the output, or the rows of the input that it is made of, takes more than the %d bytes that a binding on this device holds",
			gpu.ErrTooLarge, t.StorageRange)
	}
	if !whole.Deformable() {
		part.H = p.reach(part.Ho)
		part.Pad.Top, part.Pad.Bottom = 0, 0
	}
	return nil
}

// imageRoom is how many bytes of an image a binding holds, beside what may lie in
// it before the first element, and what indices run ahead by.
func imageRoom(p conv.Problem, t traits) int64 {
	return min(t.StorageRange, 4*int64(1<<31-1-p.H*p.W-p.Ho*p.Wo)) - granule
}

// fitsImage tells whether an image of the input does not need to be cut.
func fitsImage(p conv.Problem, t traits) bool {
	return 4*int64(p.C)*int64(p.H)*int64(p.W) <= imageRoom(p, t)
}

// rows is how many output rows a band has at most, of so many elements a tensor.
func (p *pieces) rows(elements int64, perRow int) int {
	rows := min(elements/int64(perRow), int64(p.whole.Ho))
	if !p.whole.Deformable() {
		most := elements/int64(p.part.C*p.whole.W) - int64(p.reach(1)) // input rows behind the first output's
		rows = min(rows, most/int64(p.whole.StrideY)+1)
		if most < 0 {
			rows = 0
		}
	}
	if rows > 4 {
		rows -= rows % 4 // some kernels take four pixels at once
	}
	return int(max(rows, 0))
}

// reach is how many input rows so many output rows are made of.
func (p *pieces) reach(rows int) int {
	return (rows-1)*p.whole.StrideY + (p.whole.R-1)*p.whole.DilationY + 1
}

func newPiecewise(d *gpu.Device, p conv.Problem, t traits, weight, bias []float32) (forward, error) {
	cut, err := cutUp(p, t)
	if err != nil {
		return nil, fmt.Errorf("kernels: %w", err)
	}
	return cut.build(d, weight, bias)
}

func (cut pieces) build(d *gpu.Device, weight, bias []float32) (forward, error) {
	s := &piecewise{device: d, pieces: cut}
	if err := s.check(weight, bias); err != nil {
		return nil, err
	}
	for b := range cut.blocks {
		w, bs := s.weightsOf(b, weight, bias)
		o, err := newOperator(d, cut.launch, w, bs)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.blocks = append(s.blocks, o)
	}
	if err := s.reserve(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// reserve makes room for bands, and for offsets and masks of images that do not
// start where a binding may.
func (s *piecewise) reserve() (err error) {
	part := &s.part
	need := [slots]int{}
	if s.banded {
		need[slotY] = part.Output().Len()
		if !part.Deformable() {
			need[slotX] = part.Input().Len()
		}
	}
	if part.Deformable() {
		need[slotOffset] = part.Offset().Len()
		if part.Mask {
			need[slotMask] = part.MaskShape().Len()
		}
	}
	for i, n := range need {
		if n == 0 {
			continue
		}
		if s.room[i], err = s.device.NewBuffer(4 * int64(n)); err != nil {
			return fmt.Errorf("kernels: workspace: %w", err)
		}
		s.size += 4 * int64(n)
	}
	return nil
}

func (s *piecewise) check(weight, bias []float32) error {
	return (&operator{launch: launch{problem: s.whole}, hasBias: s.whole.Bias}).checkWeights(weight, bias)
}

// weightsOf is a block's share of the weights.
func (s *piecewise) weightsOf(b int, weight, bias []float32) (w, bs []float32) {
	k, _ := s.blockAt(b)
	each := s.whole.C / s.whole.Groups * s.whole.Taps()
	if bias != nil {
		bs = bias[k:][:s.part.K]
	}
	return weight[k*each:][:s.part.K*each], bs
}

// SetWeights replaces the weights and biases, as a whole plan's does.
func (s *piecewise) SetWeights(weight, bias []float32) error {
	if err := s.check(weight, bias); err != nil {
		return err
	}
	for b, o := range s.blocks {
		if err := o.SetWeights(s.weightsOf(b, weight, bias)); err != nil {
			return err
		}
	}
	return nil
}

// Workspace is the device memory in bytes that the bands take.
func (s *piecewise) Workspace() int64 { return s.size }

// Close frees weights and workspace. What was submitted before goes on.
func (s *piecewise) Close() {
	for _, o := range s.blocks {
		o.Close()
	}
	for _, b := range s.room {
		b.Free()
	}
}

// Describe names the kernel and the pieces.
func (s *piecewise) Describe() string {
	of := []string{fmt.Sprintf("%d of %d images", s.part.N, s.whole.N)}
	if s.banded {
		of = append(of, fmt.Sprintf("%d of %d rows", s.part.Ho, s.whole.Ho))
	}
	if len(s.blocks) > 1 {
		of = append(of, fmt.Sprintf("%d of %d channels", s.part.K, s.whole.K))
	}
	return s.blocks[0].Describe() + "; in pieces of " + strings.Join(of, ", ")
}

// recordForward records every piece.
func (s *piecewise) recordForward(stream *gpu.Stream, y, x View, offset, mask Tensor) error {
	whole, part := &s.whole, &s.part
	y, x = y.wide(whole.K), x.wide(whole.C)
	for image := range starts(whole.N, part.N) {
		for row := range starts(whole.Ho, part.Ho) {
			at := piece{piecewise: s, stream: stream, image: image, row: row}
			in, err := at.deformation(offset, mask)
			if err != nil {
				return err
			}
			for b := range s.blocks {
				if err := at.record(b, y, x, in); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// wide is a view that says how many channels its tensor has.
func (v View) wide(channels int) View {
	if v.Channels == 0 {
		v.Channels = channels
	}
	return v
}

// starts are where pieces of part elements start, so that they cover whole.
func starts(whole, part int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; at < whole; at += part {
			if !yield(min(at, whole-part)) {
				return
			}
		}
	}
}
