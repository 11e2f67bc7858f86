//go:build cgo

package gpu

import "sync/atomic"

// gate counts the calls that are inside and keeps new ones out once it is shut. Unlike a read lock it may be entered
// while someone waits to shut it without a risk of deadlock: the newcomer is turned away.
type gate struct {
	inside atomic.Int64
	shut   atomic.Bool
	empty  chan struct{} // capacity 1
}

func (g *gate) enter() error {
	g.inside.Add(1)
	if g.shut.Load() {
		g.leave()
		return errClosedDevice
	}
	return nil
}

func (g *gate) leave() {
	if g.inside.Add(-1) == 0 && g.shut.Load() {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// close shuts the gate, waits until everybody has left, and tells whether this call was the first.
func (g *gate) close() bool {
	if !g.shut.CompareAndSwap(false, true) {
		return false
	}
	for g.inside.Load() != 0 {
		<-g.empty
	}
	return true
}
