//go:build cgo

package vkconv

// Queued returns how many operators wait in the open stream, and the latest
// submission; ok is false where nothing is queued because it runs at once.
func (e *Engine) Queued() (operators int, last any, ok bool) {
	v, ok := e.back.(*vulkan)
	if !ok {
		return 0, nil, false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queued, v.last, true
}

// Live counts the Vulkan objects that exist by kind, nil on the CPU.
func (e *Engine) Live() map[string]int {
	if v, ok := e.back.(*vulkan); ok {
		return v.dev.LiveObjects()
	}
	return nil
}

// Buffers counts the device buffers that exist, 0 on the CPU.
func (e *Engine) Buffers() int {
	if v, ok := e.back.(*vulkan); ok {
		return v.dev.MemoryUse().Buffers
	}
	return 0
}
