//go:build cgo

package gpu

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"vkconv/gpu/internal/vk"
)

// Device memory comes in few big blocks, since drivers limit how many allocations there are and each is slow; buffers
// are ranges of blocks:
//
//	block  ├──── A ────┤ free ├─ B ─┤├────── C ──────┤ free │      16 MiB, then twice as much each time up to 256 MiB
//	block  ├──────────────────────── D ───────────────────────┤    anything of half a block's size or more is alone
const (
	firstBlock = 16 << 20
	lastBlock  = 256 << 20
	granule    = 256 // the largest offset alignment that the specification lets a driver ask for
)

type pool struct {
	d       *Device
	memory  int  // memory type
	visible bool // map the blocks
	heap    int64
	budget  int64
	grain   int64
	alone   bool // each buffer has a block of just its size, so that layers which know only blocks see where it ends

	mu     sync.Mutex
	blocks []*block
	next   int64 // size of the next block
	use    MemoryUse
}

type block struct {
	vk   *vk.Block
	size int64
	free spans
	used int // buffers
}

func (p *pool) init(d *Device, memory int, visible bool, heap, budget int64) {
	p.d, p.memory, p.visible, p.heap, p.budget = d, memory, visible, heap, budget
	p.grain = max(granule, d.info.Limits.StorageAlign)
	p.next = firstBlock
	p.alone = d.inst.Validation() == vk.ValidateShaders
}

// MemoryUse is how much device memory is held now.
func (d *Device) MemoryUse() MemoryUse {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.pool.use
}

// Buffer is a range of device memory, usable as a storage buffer and for copies.
type Buffer struct {
	d     *Device
	block *block
	off   int64 // in the block
	room  int64 // bytes taken there
	size  int64

	refs  atomic.Int32  // one for the owner, one for each stream that uses it
	freed atomic.Bool   // the owner's is given back
	last  atomic.Uint64 // serial of the last submission that uses it
	mark  atomic.Uint64 // the recording that noted it last; a hint that spares duplicates
}

// NewBuffer makes a buffer of so many bytes; their contents are undefined. Size 0 is allowed: such a buffer may be bound
// and is never read.
func (d *Device) NewBuffer(size int64) (*Buffer, error) {
	if err := d.gate.enter(); err != nil {
		return nil, err
	}
	defer d.gate.leave()
	if size < 0 {
		return nil, fmt.Errorf("gpu: %w: buffer size %d is negative", ErrArgument, size)
	}
	if most := d.info.Limits.BufferSize / d.pool.grain * d.pool.grain; size > most {
		return nil, fmt.Errorf("gpu: %w: a buffer of %d bytes; %s allows %d", ErrTooLarge, size, d.info.Name, most)
	}
	b := &Buffer{d: d, size: size}
	b.refs.Store(1)
	b.room = (max(size, 1) + d.pool.grain - 1) / d.pool.grain * d.pool.grain
	err := d.pool.alloc(b)
	if err != nil && d.reclaim() {
		err = d.pool.alloc(b) // what was freed while in flight has come back
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Size is the number of bytes asked for.
func (b *Buffer) Size() int64 { return b.size }

// Free gives the memory back. Work in flight, and streams that already use the buffer, may go on: the memory is used
// again only when they are done. Freeing twice, or after the device is closed, does nothing.
func (b *Buffer) Free() {
	if b == nil || !b.freed.CompareAndSwap(false, true) {
		return
	}
	if b.d.gate.enter() != nil {
		return // went with the device
	}
	defer b.d.gate.leave()
	b.d.pool.mu.Lock()
	b.d.pool.use.Buffers--
	b.d.pool.mu.Unlock()
	b.drop()
}

// keep adds a reference; it fails on a buffer that was freed.
func (b *Buffer) keep() bool {
	for {
		n := b.refs.Load()
		if n <= 0 || b.freed.Load() {
			return false
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (b *Buffer) drop() {
	if b.refs.Add(-1) == 0 {
		b.d.pool.give(b)
	}
}

func (p *pool) alloc(b *Buffer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alone {
		b.room = max(4, (b.size+3)&^3)
		k, err := p.grow(b.room)
		if err != nil {
			return err
		}
		off, _ := k.free.take(b.room)
		p.place(b, k, off)
		return nil
	}
	for _, k := range p.blocks {
		if off, ok := k.free.take(b.room); ok {
			p.place(b, k, off)
			return nil
		}
	}
	size := p.next
	if b.room*2 > size {
		size = b.room
	}
	k, err := p.grow(min(size, p.d.info.Limits.BufferSize/p.grain*p.grain))
	if err != nil && size > b.room {
		k, err = p.grow(b.room)
	}
	if err != nil && p.trim() {
		k, err = p.grow(b.room)
	}
	if err != nil {
		return err
	}
	if size == p.next {
		p.next = min(2*p.next, lastBlock)
	}
	off, _ := k.free.take(b.room)
	p.place(b, k, off)
	return nil
}

func (p *pool) place(b *Buffer, k *block, off int64) {
	b.block, b.off = k, off
	k.used++
	p.use.Buffers++
	p.use.InUse += b.room
	p.use.Peak = max(p.use.Peak, p.use.InUse)
}

// reserve takes n bytes from the budget. The caller holds the lock.
func (p *pool) reserve(n int64) error {
	if p.budget > 0 && p.use.Reserved+n > p.budget {
		return fmt.Errorf("gpu: %w: %d bytes more than the %d reserved would pass the budget of %d",
			ErrOutOfMemory, n, p.use.Reserved, p.budget)
	}
	p.use.Reserved += n
	return nil
}

func (p *pool) grow(size int64) (*block, error) {
	if n := p.d.info.Limits.Allocations; uint32(len(p.blocks)+stagingSlots) >= n {
		return nil, fmt.Errorf("gpu: %w: %s allows %d allocations and all are made", ErrOutOfMemory, p.d.info.Name, n)
	}
	if err := p.reserve(size); err != nil {
		return nil, err
	}
	v, err := p.d.dev.NewBlock(size, p.memory, p.visible)
	if err != nil {
		p.use.Reserved -= size
		return nil, fmt.Errorf("%w; asked for %d bytes with %d reserved, the device's heap has %d",
			p.d.wrap(err), size, p.use.Reserved, p.heap)
	}
	k := &block{vk: v, size: size, free: spans{{0, size}}}
	p.blocks = append(p.blocks, k)
	return k, nil
}

// give takes a buffer's range back. Of blocks left empty one is kept, for programs that free and allocate in turn.
func (p *pool) give(b *Buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := b.block
	k.free.give(b.off, b.room)
	k.used--
	p.use.InUse -= b.room
	if k.used > 0 {
		return
	}
	for _, other := range p.blocks {
		if p.alone || other != k && other.used == 0 {
			p.remove(k)
			return
		}
	}
	if k.size > lastBlock {
		p.remove(k)
	}
}

// trim gives empty blocks back to the device.
func (p *pool) trim() bool {
	some := false
	for _, k := range slices.Clone(p.blocks) {
		if k.used == 0 {
			p.remove(k)
			some = true
		}
	}
	return some
}

func (p *pool) remove(k *block) {
	k.vk.Close(p.d.dev)
	p.use.Reserved -= k.size
	p.blocks = slices.DeleteFunc(p.blocks, func(other *block) bool { return other == k })
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.blocks {
		k.vk.Close(p.d.dev)
	}
	p.blocks = nil
	p.use = MemoryUse{Peak: p.use.Peak}
}

// check refuses ranges outside a buffer, buffers of other devices and freed ones.
func (d *Device) check(what string, b *Buffer, off, n int64) error {
	switch {
	case b == nil:
		return fmt.Errorf("gpu: %w: %s: the buffer is nil", ErrArgument, what)
	case b.d != d:
		return fmt.Errorf("gpu: %w: %s: the buffer belongs to another device", ErrArgument, what)
	case b.freed.Load():
		return fmt.Errorf("gpu: %w: %s: the buffer was freed", ErrClosed, what)
	case off < 0 || n < 0 || off > b.size || n > b.size-off:
		return fmt.Errorf("gpu: %w: %s: bytes %d to %d of a buffer of %d", ErrArgument, what, off, off+n, b.size)
	}
	return nil
}
