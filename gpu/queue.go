//go:build cgo

package gpu

import (
	"context"
	"slices"
	"sync"
	"time"

	"vkconv/gpu/internal/vk"
)

// maxInFlight bounds how far recording runs ahead: a Submit beyond it waits for the oldest submission.
const maxInFlight = 64

// queue is the device's one queue and the recorders that wait on it. Serials number submissions from 1 without gaps, and
// they finish in that order.
//
//	serial   1 … done │ done+1 … sent │
//	         finished │   in flight   │
type queue struct {
	mu         sync.Mutex
	done, sent uint64
	flight     []*recorder // serials done+1 … sent
	idle, all  []*recorder
	marks      uint64 // numbers recordings, for Buffer.mark

	moved time.Time   // when the queue last got on: something finished, or was sent while nothing was in flight
	stuck []*recorder // given up with a hung device, which may still work on them
}

// recorder is what one submission needs. It serves again and again.
type recorder struct {
	vk      *vk.Stream
	mark    uint64
	fresh   bool      // nothing is recorded yet
	touched []touch   // since the last barrier
	used    []*Buffer // each with a reference
	times   int

	// Under the queue's lock:
	serial  uint64
	sub     *Submission // nil where only its ticket was given out
	waiters int         // goroutines inside Wait on its fence
	retired bool        // finished, goes to the idle ones when the last waiter has left
}

// last is the serial of the newest submission.
func (q *queue) last() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent
}

// recorder gives one that is ready to record.
func (d *Device) recorder() (*recorder, error) {
	if d.lost.Load() {
		return nil, d.errLost()
	}
	q := &d.queue
	q.mu.Lock()
	q.reap(d)
	if d.lost.Load() { // as it has just been found: what is idle now may be under way
		q.mu.Unlock()
		return nil, d.errLost()
	}
	var r *recorder
	if n := len(q.idle); n > 0 {
		r = q.idle[n-1]
		q.idle = q.idle[:n-1]
	}
	q.marks++
	mark := q.marks
	q.mu.Unlock()
	if r == nil {
		s, err := d.dev.NewStream()
		if err != nil {
			return nil, d.wrap(err)
		}
		r = &recorder{vk: s}
		q.mu.Lock()
		q.all = append(q.all, r)
		q.mu.Unlock()
	}
	r.mark, r.fresh, r.times, r.retired = mark, true, 0, false
	r.touched = r.touched[:0]
	if err := r.vk.Begin(); err != nil {
		d.discard(r)
		return nil, d.wrap(err)
	}
	return r, nil
}

// discard takes back a recorder that was not submitted.
func (d *Device) discard(r *recorder) {
	r.release()
	d.queue.mu.Lock()
	d.queue.idle = append(d.queue.idle, r)
	d.queue.mu.Unlock()
}

func (r *recorder) release() {
	for k, b := range r.used {
		b.drop()
		r.used[k] = nil
	}
	r.used = r.used[:0]
}

// use keeps a buffer alive until the submission is done.
func (r *recorder) use(b *Buffer) bool {
	if b.mark.Load() == r.mark {
		return true
	}
	if !b.keep() {
		return false
	}
	b.mark.Store(r.mark)
	r.used = append(r.used, b)
	return true
}

// submit ends the recording and sends it off, as sub unless that is nil; the recorder is the queue's from here on, also on
// failure.
func (d *Device) submit(r *recorder, sub *Submission) (Ticket, error) {
	if err := r.vk.End(); err != nil {
		d.discard(r)
		return Ticket{}, d.wrap(err)
	}
	q := &d.queue
	q.mu.Lock()
	for q.reap(d); len(q.flight) >= maxInFlight; q.reap(d) {
		oldest := q.done + 1
		q.mu.Unlock()
		if err := d.await(context.Background(), oldest); err != nil {
			d.discard(r)
			return Ticket{}, err
		}
		q.mu.Lock()
	}
	defer q.mu.Unlock()
	var err error
	if !d.lost.Load() {
		if err = r.vk.Submit(); err != nil {
			err = d.wrap(err)
		}
	}
	if d.lost.Load() {
		err = d.errLost()
	}
	if err != nil {
		if d.lost.Load() {
			q.abandon(d)
		}
		r.release()
		q.idle = append(q.idle, r)
		return Ticket{}, err
	}
	q.sent++
	r.serial = q.sent
	t := Ticket{d, r.serial}
	if r.sub = sub; sub != nil {
		sub.Ticket = t
	}
	for _, b := range r.used {
		b.last.Store(r.serial)
	}
	if len(q.flight) == 0 {
		q.moved = time.Now()
	}
	q.flight = append(q.flight, r)
	return t, nil
}

// reap retires finished submissions from the head. The caller holds the lock.
func (q *queue) reap(d *Device) {
	for len(q.flight) > 0 {
		ok, err := q.flight[0].vk.Finished()
		if err != nil {
			d.wrap(err) // notes a lost device
			q.abandon(d)
			return
		}
		if !ok {
			return
		}
		q.retire(d, nil)
	}
}

// retire takes the oldest submission, which is finished or lost, off the queue. The caller holds the lock.
func (q *queue) retire(d *Device, err error) {
	r := q.flight[0]
	q.flight = slices.Delete(q.flight, 0, 1)
	q.done = r.serial
	q.moved = time.Now()
	if r.sub != nil {
		if err == nil && r.times > 0 {
			r.sub.ticks = make([]uint64, r.times)
			if e := r.vk.Times(r.sub.ticks); e != nil {
				err = d.wrap(e)
			}
		}
		r.sub.done, r.sub.err = true, err
		r.sub = nil
	}
	r.release()
	r.retired = true
	if r.waiters == 0 {
		q.idle = append(q.idle, r)
	}
}

// abandon gives up all that is in flight on a lost device. The caller holds the lock.
func (q *queue) abandon(d *Device) {
	d.lose()
	for len(q.flight) > 0 {
		q.retire(d, d.errLost())
	}
}

// giveUp is abandon for a device that hangs: it may still work on what is in flight, so that keeps its buffers. The
// caller holds the lock.
func (q *queue) giveUp(d *Device) {
	d.hung.Store(true)
	d.lose()
	for _, r := range q.flight {
		q.done = r.serial
		if r.sub != nil {
			r.sub.done, r.sub.err = true, d.errLost()
		}
		q.stuck = append(q.stuck, r)
	}
	q.flight = nil
}

// settle tells whether a hung device has come to an end after all, with everything that was given up.
func (q *queue) settle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.stuck {
		if ok, err := r.vk.Finished(); !ok || err != nil {
			return false
		}
	}
	for _, r := range q.stuck {
		r.release()
	}
	q.stuck = nil
	return true
}

// await waits until submission serial has finished. It returns ctx's error, or ErrDeviceLost.
func (d *Device) await(ctx context.Context, serial uint64) error {
	defer d.tell()
	// In slices, so that ctx is heard. Short ones first: most work is short.
	slice := uint64(1e6)
	q := &d.queue
	for {
		q.mu.Lock()
		q.reap(d)
		if q.done >= serial {
			q.mu.Unlock()
			if d.lost.Load() {
				return d.errLost()
			}
			return nil
		}
		if d.patience > 0 && time.Since(q.moved) > d.patience {
			q.giveUp(d)
			q.mu.Unlock()
			return d.errLost()
		}
		r := q.flight[serial-q.done-1]
		r.waiters++
		q.mu.Unlock()
		if err := ctx.Err(); err != nil {
			q.leave(r)
			return err
		}
		if ctx.Done() == nil && d.patience == 0 {
			slice = 1e9
		}
		done, err := r.vk.Wait(slice)
		if slice < 5e6 {
			slice += 1e6
		}
		q.mu.Lock()
		if err != nil {
			d.wrap(err)
			q.abandon(d)
		}
		// Those before it are finished as well, though a driver may show it a moment later.
		for done && q.done < serial && len(q.flight) > 0 {
			if ok, err := q.flight[0].vk.Wait(1e9); err != nil {
				d.wrap(err)
				q.abandon(d)
			} else if ok {
				q.retire(d, nil)
			}
		}
		q.mu.Unlock()
		q.leave(r)
	}
}

func (q *queue) leave(r *recorder) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.waiters--; r.waiters == 0 && r.retired {
		r.retired = false
		q.idle = append(q.idle, r)
	}
}

// busy tells whether work in flight uses b.
func (d *Device) busy(b *Buffer) bool {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	d.queue.reap(d)
	return b.last.Load() > d.queue.done
}

// reclaim waits for everything in flight, so that buffers freed meanwhile come back; false when nothing was in flight.
func (d *Device) reclaim() bool {
	d.queue.mu.Lock()
	some := len(d.queue.flight) > 0
	sent := d.queue.sent
	d.queue.mu.Unlock()
	return some && d.await(context.Background(), sent) == nil
}

// drain waits for everything at the end.
func (q *queue) drain(d *Device) error { return d.await(context.Background(), q.last()) }

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.all {
		r.vk.Close()
	}
	q.all, q.idle = nil, nil
}
