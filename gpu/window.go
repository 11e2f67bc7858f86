//go:build cgo && window

package gpu

import (
	"errors"
	"fmt"

	"vkconv/gpu/internal/vk"
)

// ErrStale is matched by errors of Window.Show after the window changed its size: Resize, draw and show again.
var ErrStale = errors.New("the window has changed")

// Window shows frames, which are buffers of 32-bit pixels, row by row. It is used by one goroutine and closed before
// its device. Only builds with the tag window have it.
type Window struct {
	d *Device
	w *vk.Window
}

// NewWindow takes over a surface of a device that was opened with Options.Surface. surface makes one for an instance,
// given as a pointer, and returns the address of its handle: GLFW's CreateWindowSurface without its second argument.
func (d *Device) NewWindow(surface func(instance any) (uintptr, error)) (*Window, error) {
	if err := d.gate.enter(); err != nil {
		return nil, err
	}
	defer d.gate.leave()
	w, err := d.dev.NewWindow(surface)
	if err != nil {
		return nil, d.wrap(err)
	}
	return &Window{d, w}, nil
}

// Resize fits the window's images to its size now. width and height matter only where the system leaves the choice.
// What comes back is what frames must have, 0 while the window is minimised, and whether a pixel's first byte is blue
// (else red).
func (w *Window) Resize(width, height int) (int, int, bool, error) {
	if err := w.d.gate.enter(); err != nil {
		return 0, 0, false, err
	}
	defer w.d.gate.leave()
	if err := w.idle(); err != nil {
		return 0, 0, false, err
	}
	if err := w.w.Resize(width, height); err != nil {
		return 0, 0, false, w.d.wrap(err)
	}
	width, height, blue := w.w.Size()
	return width, height, blue, nil
}

// idle waits until nothing uses the window's images.
func (w *Window) idle() error {
	w.d.queue.mu.Lock()
	defer w.d.queue.mu.Unlock()
	return w.d.wrap(w.d.dev.Idle())
}

// Show shows a frame once all work submitted before is done. It waits for the frame before, and for the screen.
func (w *Window) Show(frame *Buffer) error {
	if err := w.d.gate.enter(); err != nil {
		return err
	}
	defer w.d.gate.leave()
	width, height, _ := w.w.Size()
	if n := 4 * int64(width) * int64(height); n == 0 || frame == nil || frame.size < n {
		return fmt.Errorf("gpu: %w: the window has %d×%d pixels", ErrStale, width, height)
	}
	if err := w.d.check("show", frame, 0, frame.size); err != nil {
		return err
	}
	ok, err := false, error(nil)
	for tries := 0; !ok && err == nil; tries++ {
		if tries == 5 { // the system takes none: a window that is covered, say
			return nil
		}
		ok, err = w.w.Acquire(1e9)
	}
	if err == nil {
		w.d.queue.mu.Lock()
		err = w.w.Show(frame.block.vk.Handle(), frame.off)
		w.d.queue.mu.Unlock()
	}
	if errors.Is(err, vk.ErrStale) {
		return fmt.Errorf("gpu: %w", ErrStale)
	}
	return w.d.wrap(err)
}

// Close waits for the frames under way and gives the surface back.
func (w *Window) Close() error {
	if err := w.d.gate.enter(); err != nil {
		return err
	}
	defer w.d.gate.leave()
	err := w.idle()
	w.w.Close()
	return err
}
