//go:build cgo

package gpu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"vkconv/gpu/internal/vk"
)

// Access says what a dispatch does with a binding. It must be true: barriers depend on it.
type Access uint8

const (
	ReadWrite Access = iota // the zero value is the safe one
	Read
	Write
)

// Binding is the range of a buffer that a storage buffer of the shader stands for.
type Binding struct {
	Buffer *Buffer
	Offset int64 // bytes, a multiple of Limits.StorageAlign
	Size   int64 // bytes; 0 = the rest of the buffer
	Access Access
}

// Stream records commands and is submitted once. Its memory is recycled, so end each stream with Submit or Discard.
type Stream struct {
	d  *Device
	mu sync.Mutex
	r  *recorder // nil after Submit and Discard
}

// touch is a range that a command since the last barrier touched.
type touch struct {
	b      *Buffer
	lo, hi int64
	write  bool
}

// maxTouched bounds the search for conflicts; beyond it a barrier is put without need.
const maxTouched = 256

// NewStream begins a recording.
func (d *Device) NewStream() (*Stream, error) {
	if err := d.gate.enter(); err != nil {
		return nil, err
	}
	defer d.gate.leave()
	r, err := d.recorder()
	if err != nil {
		return nil, err
	}
	return &Stream{d: d, r: r}, nil
}

// Restart begins another recording in a stream that was submitted, sent or discarded: NewStream without a new object.
func (s *Stream) Restart() error {
	if err := s.d.gate.enter(); err != nil {
		return err
	}
	defer s.d.gate.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.r != nil {
		return fmt.Errorf("gpu: %w: a stream is restarted that was neither submitted nor discarded", ErrArgument)
	}
	var err error
	s.r, err = s.d.recorder()
	return err
}

var errEnded = fmt.Errorf("gpu: %w: the stream was submitted or discarded", ErrClosed)

// begin is the start of every call; end its end.
func (s *Stream) begin() error {
	if err := s.d.gate.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.r == nil {
		s.end()
		return errEnded
	}
	return nil
}

func (s *Stream) end() {
	s.mu.Unlock()
	s.d.gate.leave()
}

// meets tells whether a command that touches [lo, hi) of b must wait for one before it: a read for a write (RAW), a write
// for a write (WAW) or for a read (WAR).
func (r *recorder) meets(b *Buffer, lo, hi int64, write bool) bool {
	for k := range r.touched {
		if t := &r.touched[k]; t.b == b && (write || t.write) && t.lo < hi && lo < t.hi {
			return true
		}
	}
	return false
}

// barrier closes a command's search: whether it must wait, in which case nothing before it matters to later ones. The
// first command always waits, for what was submitted before.
func (r *recorder) barrier(meets bool) bool {
	if meets || r.fresh || len(r.touched) > maxTouched {
		r.fresh = false
		r.touched = r.touched[:0]
		return true
	}
	return false
}

// Dispatch records p over so many workgroups. push must have the module's PushBytes, bindings its Bindings. A dispatch
// with no groups does nothing.
func (s *Stream) Dispatch(p *Pipeline, groups [3]uint32, push []byte, bindings []Binding) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	d, r := s.d, s.r
	if err := d.checkDispatch(p, groups, push, bindings); err != nil {
		return err
	}
	if groups[0] == 0 || groups[1] == 0 || groups[2] == 0 {
		return nil
	}
	var binds [vk.MaxBindings]vk.Bind
	meets := false
	for k := range bindings {
		b := &bindings[k]
		if !r.use(b.Buffer) {
			return fmt.Errorf("gpu: %w: %s: binding %d: the buffer was freed", ErrClosed, p.name, k)
		}
		size := b.Size
		if size == 0 {
			size = b.Buffer.size - b.Offset
		}
		meets = meets || r.meets(b.Buffer, b.Offset, b.Offset+size, b.Access != Read)
		if vk.BindOn.Load() {
			size = min(b.Buffer.size-b.Offset, d.info.Limits.StorageBufferRange)
		}
		// A range of no bytes is not allowed; the buffer has that room in any case.
		binds[k] = vk.Bind{Buffer: b.Buffer.block.vk.Handle(), Offset: uint64(b.Buffer.off + b.Offset), Range: uint64(max(size, 4))}
	}
	wait := r.barrier(meets)
	for k := range bindings {
		b := &bindings[k]
		size := b.Size
		if size == 0 {
			size = b.Buffer.size - b.Offset
		}
		r.touched = append(r.touched, touch{b.Buffer, b.Offset, b.Offset + size, b.Access != Read})
	}
	if err := r.vk.Dispatch(p.vk, groups, push, binds[:len(bindings)], wait); err != nil {
		return d.wrap(err)
	}
	return nil
}

func (d *Device) checkDispatch(p *Pipeline, groups [3]uint32, push []byte, bindings []Binding) error {
	switch {
	case p == nil:
		return fmt.Errorf("gpu: %w: the pipeline is nil", ErrArgument)
	case p.d != d:
		return fmt.Errorf("gpu: %w: pipeline %s belongs to another device", ErrArgument, p.name)
	case len(push) != p.push:
		return fmt.Errorf("gpu: %w: %s takes %d bytes of push constants, not %d", ErrArgument, p.name, p.push, len(push))
	case len(bindings) != p.bindings:
		return fmt.Errorf("gpu: %w: %s takes %d bindings, not %d", ErrArgument, p.name, p.bindings, len(bindings))
	}
	l := &d.info.Limits
	for k, n := range groups {
		if n > l.Groups[k] {
			return fmt.Errorf("gpu: %w: %s: %d workgroups in dimension %d; %s allows %d", ErrLimit, p.name, n, k, d.info.Name, l.Groups[k])
		}
	}
	for k := range bindings {
		b := &bindings[k]
		if b.Buffer == nil || b.Buffer.d != d || b.Buffer.freed.Load() || b.Offset < 0 || b.Size < 0 || b.Offset > b.Buffer.size ||
			b.Size > b.Buffer.size-b.Offset {
			return d.check(fmt.Sprintf("%s: binding %d", p.name, k), b.Buffer, b.Offset, b.Size)
		}
		if b.Offset%l.StorageAlign != 0 {
			return fmt.Errorf("gpu: %w: %s: binding %d starts at byte %d; %s needs a multiple of %d", ErrArgument, p.name, k, b.Offset,
				d.info.Name, l.StorageAlign)
		}
		size := b.Size
		if size == 0 {
			size = b.Buffer.size - b.Offset
		}
		if size == 0 && b.Buffer.size > 0 {
			return fmt.Errorf("gpu: %w: %s: binding %d starts at the end of its buffer of %d bytes", ErrArgument, p.name, k, b.Buffer.size)
		}
		if size > l.StorageBufferRange {
			return fmt.Errorf("gpu: %w: %s: binding %d covers %d bytes; %s allows %d", ErrTooLarge, p.name, k, size, d.info.Name,
				l.StorageBufferRange)
		}
	}
	return nil
}

// Copy records a copy of n bytes between buffers, or inside one if the ranges do not overlap.
func (s *Stream) Copy(dst *Buffer, dstOff int64, src *Buffer, srcOff, n int64) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	d, r := s.d, s.r
	if err := errors.Join(d.check("copy to", dst, dstOff, n), d.check("copy from", src, srcOff, n)); err != nil {
		return err
	}
	if dst == src && dstOff < srcOff+n && srcOff < dstOff+n && n > 0 {
		return fmt.Errorf("gpu: %w: copy of %d bytes from byte %d to %d of the same buffer overlaps itself", ErrArgument, n, srcOff, dstOff)
	}
	if n == 0 {
		return nil
	}
	if !r.use(dst) || !r.use(src) {
		return fmt.Errorf("gpu: %w: copy: a buffer was freed", ErrClosed)
	}
	wait := r.barrier(r.meets(dst, dstOff, dstOff+n, true) || r.meets(src, srcOff, srcOff+n, false))
	r.touched = append(r.touched, touch{dst, dstOff, dstOff + n, true}, touch{src, srcOff, srcOff + n, false})
	r.vk.Copy(dst.block.vk.Handle(), dst.off+dstOff, src.block.vk.Handle(), src.off+srcOff, n, wait)
	return nil
}

// Fill records the filling of n bytes with a 32-bit word; off and n are multiples of 4.
func (s *Stream) Fill(dst *Buffer, off, n int64, word uint32) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	d, r := s.d, s.r
	if err := d.check("fill", dst, off, n); err != nil {
		return err
	}
	if off%4 != 0 || n%4 != 0 {
		return fmt.Errorf("gpu: %w: fill of %d bytes at byte %d; both must be multiples of 4", ErrArgument, n, off)
	}
	if n == 0 {
		return nil
	}
	if !r.use(dst) {
		return fmt.Errorf("gpu: %w: fill: the buffer was freed", ErrClosed)
	}
	wait := r.barrier(r.meets(dst, off, off+n, true))
	r.touched = append(r.touched, touch{dst, off, off + n, true})
	r.vk.Fill(dst.block.vk.Handle(), dst.off+off, n, word, wait)
	return nil
}

// Timestamp records a timestamp, written when all that was recorded before is done, and returns its place in
// Submission.Timestamps.
func (s *Stream) Timestamp() (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	if s.d.info.Limits.TimestampBits == 0 {
		return 0, fmt.Errorf("gpu: %w: %s has no timestamps", ErrLimit, s.d.info.Name)
	}
	if err := s.r.vk.Timestamp(); err != nil {
		return 0, s.d.wrap(err)
	}
	s.r.times++
	return s.r.times - 1, nil
}

// Submit sends the recording to the device and returns at once, unless very many submissions are in flight. The stream
// is used up, also when Submit fails.
func (s *Stream) Submit() (*Submission, error) {
	u := &Submission{}
	if _, err := s.send(u); err != nil {
		return nil, err
	}
	return u, nil
}

// Send is Submit where waiting is all that is wanted. With [Stream.Restart] it leaves nothing on the heap.
func (s *Stream) Send() (Ticket, error) { return s.send(nil) }

func (s *Stream) send(u *Submission) (Ticket, error) {
	if err := s.begin(); err != nil {
		return Ticket{}, err
	}
	defer s.end()
	r := s.r
	s.r = nil
	return s.d.submit(r, u)
}

// Discard drops the recording. After Submit or Discard it does nothing.
func (s *Stream) Discard() {
	if s.begin() != nil {
		return
	}
	defer s.end()
	s.d.discard(s.r)
	s.r = nil
}

// Ticket is the place in the device's queue of work that was sent to it. The zero value is that of nothing.
type Ticket struct {
	d      *Device
	serial uint64
}

// Wait waits until the work is done and all before it, or ctx is; the work goes on then. On a lost device it returns
// [ErrDeviceLost], also where the work was done before.
func (t Ticket) Wait(ctx context.Context) error {
	if t.d == nil {
		return nil
	}
	if err := t.d.gate.enter(); err != nil {
		return err
	}
	defer t.d.gate.leave()
	return t.d.await(ctx, t.serial)
}

// Submission is work that was sent to the device.
type Submission struct {
	Ticket

	// Under the queue's lock:
	done  bool
	err   error
	ticks []uint64
}

// Wait waits until the work is done, or ctx is; the work goes on then.
func (u *Submission) Wait(ctx context.Context) error {
	if err := u.d.gate.enter(); err != nil {
		return err
	}
	defer u.d.gate.leave()
	if done, err := u.state(); done {
		return err
	}
	if err := u.d.await(ctx, u.serial); err != nil {
		return err
	}
	_, err := u.state()
	return err
}

func (u *Submission) state() (bool, error) {
	u.d.queue.mu.Lock()
	defer u.d.queue.mu.Unlock()
	if !u.done {
		u.d.queue.reap(u.d)
	}
	return u.done, u.err
}

// Done tells whether the work is done, without waiting.
func (u *Submission) Done() (bool, error) {
	if err := u.d.gate.enter(); err != nil {
		return false, err
	}
	defer u.d.gate.leave()
	return u.state()
}

// Timestamps are the stream's timestamps since its first. The work must be done.
func (u *Submission) Timestamps() ([]time.Duration, error) {
	done, err := u.Done()
	if err != nil {
		return nil, err
	}
	if !done {
		return nil, fmt.Errorf("gpu: %w: timestamps are there after Wait", ErrArgument)
	}
	l := u.d.info.Limits
	mask := ^uint64(0) >> (64 - min(l.TimestampBits, 64))
	out := make([]time.Duration, len(u.ticks))
	for k, t := range u.ticks {
		out[k] = time.Duration(float64((t-u.ticks[0])&mask) * l.TimestampPeriod)
	}
	return out, nil
}
