//go:build cgo

package gpu

import (
	"context"
	"fmt"
	"sync"

	"vkconv/gpu/internal/vk"
)

// Staging buffers carry bytes to and from memory that the processor cannot reach (or, for downloads, reads slowly), and
// uploads to buffers that work in flight still reads. A long transfer goes through the slots in turn, so that the
// processor fills one while the device empties another:
//
//	processor   fill 0 │ fill 1 │ fill 2 │ wait 0, fill 0 │ …
//	device             │ copy 0 │ copy 1 │     copy 2     │ …
const (
	stagingSlots = 3
	smallSlot    = 64 << 10
	largeSlot    = 8 << 20
)

type staging struct {
	memory             int
	directUp, directDn bool

	mu    sync.Mutex
	slots [stagingSlots]slot
}

type slot struct {
	block  *vk.Block
	size   int64
	serial uint64 // of the last submission that uses it
}

func (t *staging) init(memory int, up, down bool) {
	t.memory, t.directUp, t.directDn = memory, up, down
}

// Upload copies src to dst from byte offset on, in the order of submissions: what was submitted before sees the old
// bytes, what is submitted later the new ones. src may be used again on return; the copy may still be under way.
func (d *Device) Upload(dst *Buffer, offset int64, src []byte) error {
	if err := d.gate.enter(); err != nil {
		return err
	}
	defer d.gate.leave()
	if err := d.check("upload", dst, offset, int64(len(src))); err != nil {
		return err
	}
	if d.lost.Load() {
		return d.errLost()
	}
	if len(src) == 0 {
		return nil
	}
	if !dst.keep() {
		return fmt.Errorf("gpu: %w: upload: the buffer was freed", ErrClosed)
	}
	defer dst.drop()
	if d.stage.directUp && !d.busy(dst) {
		copy(dst.block.vk.Bytes()[dst.off+offset:], src)
		return nil
	}
	t := &d.stage
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := 0; len(src) > 0; k++ {
		s, err := d.slot(k, int64(len(src)))
		if err != nil {
			return err
		}
		n := copy(s.block.Bytes(), src)
		if s.serial, err = d.copyRaw(dst, dst.block.vk.Handle(), dst.off+offset, s.block.Handle(), 0, int64(n)); err != nil {
			return err
		}
		src, offset = src[n:], offset+int64(n)
	}
	return nil
}

// Download copies from src, from byte offset on, to dst. It waits for what was submitted before and returns with dst
// filled.
func (d *Device) Download(dst []byte, src *Buffer, offset int64) error {
	if err := d.gate.enter(); err != nil {
		return err
	}
	defer d.gate.leave()
	if err := d.check("download", src, offset, int64(len(dst))); err != nil {
		return err
	}
	if d.lost.Load() {
		return d.errLost()
	}
	if len(dst) == 0 {
		return nil
	}
	if !src.keep() {
		return fmt.Errorf("gpu: %w: download: the buffer was freed", ErrClosed)
	}
	defer src.drop()
	if d.stage.directDn {
		if err := d.await(context.Background(), src.last.Load()); err != nil {
			return err
		}
		copy(dst, src.block.vk.Bytes()[src.off+offset:])
		return nil
	}
	t := &d.stage
	t.mu.Lock()
	defer t.mu.Unlock()
	// read is how far dst is filled, asked how far copies are submitted; between them lie at most stagingSlots chunks.
	type chunk struct {
		s *slot
		n int64
	}
	var under []chunk
	total := int64(len(dst))
	var read, asked int64
	for k := 0; read < total; {
		for asked < total && len(under) < stagingSlots {
			s, err := d.slot(k, total-asked)
			if err != nil {
				return err
			}
			n := min(s.size, total-asked)
			if s.serial, err = d.copyRaw(src, s.block.Handle(), 0, src.block.vk.Handle(), src.off+offset+asked, n); err != nil {
				return err
			}
			under = append(under, chunk{s, n})
			asked += n
			k++
		}
		c := under[0]
		under = under[1:]
		if err := d.await(context.Background(), c.s.serial); err != nil {
			return err
		}
		copy(dst[read:read+c.n], c.s.block.Bytes())
		read += c.n
	}
	return nil
}

// slot gives staging slot k (counted round and round), free of work and large enough for n bytes or a full chunk. The
// caller holds the lock.
func (d *Device) slot(k int, n int64) (*slot, error) {
	s := &d.stage.slots[k%stagingSlots]
	if err := d.await(context.Background(), s.serial); err != nil {
		return nil, err
	}
	size := int64(smallSlot)
	if n > smallSlot {
		size = largeSlot
	}
	if s.size >= size {
		return s, nil
	}
	p := &d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.block != nil {
		s.block.Close(d.dev)
		p.use.Reserved -= s.size
		*s = slot{}
	}
	if err := p.reserve(size); err != nil {
		return nil, err
	}
	b, err := d.dev.NewBlock(size, d.stage.memory, true)
	if err != nil {
		p.use.Reserved -= size
		return nil, d.wrap(err)
	}
	*s = slot{block: b, size: size}
	return s, nil
}

// copyRaw submits one copy between blocks' buffers on behalf of buffer b and returns its serial.
func (d *Device) copyRaw(b *Buffer, dst uint64, dstOff int64, src uint64, srcOff, n int64) (uint64, error) {
	r, err := d.recorder()
	if err != nil {
		return 0, err
	}
	if !r.use(b) {
		d.discard(r)
		return 0, fmt.Errorf("gpu: %w: transfer: the buffer was freed", ErrClosed)
	}
	r.vk.Copy(dst, dstOff, src, srcOff, n, true)
	t, err := d.submit(r, nil)
	return t.serial, err
}

func (t *staging) close(d *Device) {
	for k := range t.slots {
		if b := t.slots[k].block; b != nil {
			b.Close(d.dev)
		}
		t.slots[k] = slot{}
	}
}

// Fill sets n bytes of dst from byte off on to a repeated 32-bit word, in the order of submissions; off and n are
// multiples of 4. It does not wait.
func (d *Device) Fill(dst *Buffer, off, n int64, word uint32) error {
	s, err := d.NewStream()
	if err != nil {
		return err
	}
	if err := s.Fill(dst, off, n, word); err != nil {
		s.Discard()
		return err
	}
	_, err = s.Submit()
	return err
}
