//go:build cgo

package gpu

import "encoding/binary"

// What the tests in gpu_test see of the inside.

// Place tells where a buffer lies: its block (any comparable value), offset and room.
func (b *Buffer) Place() (block any, off, room int64) { return b.block, b.off, b.room }

// Recorders tells how many recorders were made and how many of them are idle.
func (d *Device) Recorders() (all, idle int) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	return len(d.queue.all), len(d.queue.idle)
}

// ForgetHazards makes the next command skip its barrier: the error that the validation layer must find.
func (s *Stream) ForgetHazards() { s.r.touched = s.r.touched[:0] }

// Touched is how many ranges were touched since the last barrier.
func (s *Stream) Touched() int { return len(s.r.touched) }

// Lose makes the device behave as if the driver had reported it lost.
func (d *Device) Lose() {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	d.queue.abandon(d)
}

// CachePath is the file of the pipeline cache.
func (d *Device) CachePath() string { return d.pipes.file.path }

// Choose is choose.
var Choose = choose

// Reflect is reflectModule.
func Reflect(code []byte, constants []Constant) error {
	w := make([]uint32, len(code)/4)
	for k := range w {
		w[k] = binary.LittleEndian.Uint32(code[4*k:])
	}
	_, err := reflectModule(w, constants)
	return err
}

// Settled tells whether all that was given up with a hung device has finished; the recorders stay where they are.
func (d *Device) Settled() bool {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	for _, r := range d.queue.stuck {
		if ok, err := r.vk.Finished(); !ok || err != nil {
			return false
		}
	}
	return true
}
