package fast

import (
	"context"
	"fmt"

	"vkconv/conv"
)

// Strides are the distances from one image to the next, in elements, where
// tensors are ranges of channels of wider ones; 0 means that images follow each
// other.
type Strides struct{ Y, X int }

// strided is a plan whose images lie further apart than they are long. It moves
// the slices instead of the indices, so that no plan has to know.
type strided struct {
	tiler
	tiles      int // of an image; plans count images last
	gapY, gapX int // elements between the images
}

func (w *strided) tile(i int, j *job, s *scratch) {
	n := i / w.tiles
	moved := &s.moved
	moved.ctx, moved.offset, moved.mask = j.ctx, j.offset, j.mask
	moved.y, moved.x = j.y[n*w.gapY:], j.x[n*w.gapX:]
	w.tiler.tile(i, moved, s)
	moved.ctx, moved.y, moved.x, moved.offset, moved.mask = nil, nil, nil, nil, nil
}

var stridedRuns freeList[*strided]

// run runs plan, which has so many tiles in all, between images that far apart.
func (st Strides) run(ctx context.Context, pool *Pool, p conv.Problem, plan tiler, tiles int, y, x, offset, mask []float32) error {
	gapY, err := gap("y", y, st.Y, p.Output())
	if err != nil {
		return err
	}
	gapX, err := gap("x", x, st.X, p.Input())
	if err != nil {
		return err
	}
	if gapY == 0 && gapX == 0 || p.N == 0 {
		return pool.run(ctx, plan, tiles, y, x, offset, mask)
	}
	w := stridedRuns.get()
	if w == nil {
		w = new(strided)
	}
	*w = strided{plan, tiles / p.N, gapY, gapX}
	err = pool.run(ctx, w, tiles, y, x, offset, mask)
	*w = strided{}
	stridedRuns.put(w)
	return err
}

// gap checks a slice that holds every image of a tensor, stride apart, and
// returns what lies between them.
func gap(name string, s []float32, stride int, shape conv.Shape) (int, error) {
	image := shape[1] * shape[2] * shape[3]
	if stride == 0 {
		return 0, length(name, s, shape.Len(), shape)
	}
	if stride < image {
		return 0, fmt.Errorf("fast: images of %s are %d elements apart, of %v they have %d: %w", name, stride, shape, image, conv.ErrShape)
	}
	if least := max(shape[0]-1, 0)*stride + min(shape[0], 1)*image; len(s) < least {
		return 0, fmt.Errorf("fast: %s has %d elements, %v with images %d apart needs %d: %w", name, len(s), shape, stride, least, conv.ErrShape)
	}
	return stride - image, nil
}

// RunStrided is [Conv2D.Run] between ranges of channels of wider tensors: y and x
// begin at the range's first channel of the first image.
func (c *Conv2D) RunStrided(ctx context.Context, y, x []float32, st Strides) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return st.run(ctx, c.pool, c.p, c, c.tiles(), y, x, nil, nil)
}

// RunStrided is [DeformConv2D.Run] between ranges of channels of wider tensors:
// y and x begin at the range's first channel of the first image.
func (d *DeformConv2D) RunStrided(ctx context.Context, y, x, offset, mask []float32, st Strides) error {
	p := d.p
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
	return st.run(ctx, d.pool, p, d, d.tiles(), y, x, offset, mask)
}
