//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/gpu"
)

// portions binds whole tensors some images at a time: where these lie or, where a
// binding may not start there, copied into a room and back.
type portions struct {
	device  *gpu.Device
	all     int   // images
	images  int   // of every part but perhaps the last
	lengths []int // elements an image of each tensor; 0 of what there is not
	written int   // the first so many are written, the others read
	rooms   []*gpu.Buffer
	size    int64 // bytes of all buffers
}

// aligned is how many units at a time, at most as many as images, make every
// portion start where a binding may; or as many as images where that is not to be had.
func (p *portions) aligned(images int) int {
	align, step := int(max(p.device.Info().Limits.StorageAlign/4, 1)), 1
	for _, n := range p.lengths {
		if n > 0 {
			step = max(step, align/gcd(n, align)) // powers of two
		}
	}
	if images < p.all && images >= step {
		return images / step * step
	}
	return images
}

// buffer makes one, which counts as workspace.
func (p *portions) buffer(elements int) (*gpu.Buffer, error) {
	b, err := p.device.NewBuffer(4 * int64(elements))
	if err != nil {
		return nil, fmt.Errorf("kernels: workspace: %w", err)
	}
	p.size += 4 * int64(elements)
	return b, nil
}

// reserve makes the rooms.
func (p *portions) reserve() (err error) {
	p.rooms = make([]*gpu.Buffer, len(p.lengths))
	if p.images >= p.all {
		return nil
	}
	for i, n := range p.lengths {
		if 4*int64(p.images)*int64(n)%p.device.Info().Limits.StorageAlign != 0 {
			if p.rooms[i], err = p.buffer(p.images * n); err != nil {
				return err
			}
		}
	}
	return nil
}

// each calls f, which records a part, with the tensors from its first image on; those
// that are not wanted stay so.
func (p *portions) each(s *gpu.Stream, all []Tensor, f func(part, images int, at []Tensor) error) error {
	align := p.device.Info().Limits.StorageAlign
	for part := range ceil(p.all, max(p.images, 1)) {
		images := min(p.images, p.all-part*p.images)
		at, own := make([]Tensor, len(all)), make([]Tensor, len(all))
		for i, n := range p.lengths {
			at[i] = all[i]
			if at[i].wants() && n > 0 {
				at[i].Offset += 4 * int64(part) * int64(p.images) * int64(n)
				if err := checkSpan("a tensor", span{at[i], images * n}); err != nil {
					return err
				}
			}
			own[i] = at[i]
			if own[i].Offset%align == 0 || !own[i].wants() || n == 0 {
				continue
			}
			own[i] = Tensor{Buf: p.rooms[i]}
			if i >= p.written {
				if err := s.Copy(own[i].Buf, 0, at[i].Buf, at[i].Offset, 4*int64(images)*int64(n)); err != nil {
					return fmt.Errorf("kernels: %w", err)
				}
			}
		}
		if err := f(part, images, own); err != nil {
			return err
		}
		for i, n := range p.lengths[:p.written] {
			if own[i] == at[i] {
				continue
			}
			if err := s.Copy(at[i].Buf, at[i].Offset, own[i].Buf, 0, 4*int64(images)*int64(n)); err != nil {
				return fmt.Errorf("kernels: %w", err)
			}
		}
	}
	return nil
}

func (p *portions) free() {
	for _, r := range p.rooms {
		r.Free()
	}
}
