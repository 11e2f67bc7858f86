//go:build !cgo

package vkconv

// Queued tells that nothing is ever queued.
func (e *Engine) Queued() (operators int, last any, ok bool) { return 0, nil, false }

// Live is nil: there are no Vulkan objects.
func (e *Engine) Live() map[string]int { return nil }

// Buffers is 0: there are none.
func (e *Engine) Buffers() int { return 0 }
