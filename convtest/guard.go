package convtest

import (
	"fmt"
	"math"
	"slices"
)

// guardWords is the width of the band before and after a guarded slice.
const guardWords = 64

// guardWord is a NaN of a payload that no computation makes.
var guardWord = math.Float32frombits(0x7fc0dead)

// Guarded is a slice between two bands that nobody may write, and with a copy
// to tell whether it was modified.
type Guarded struct {
	Name   string
	Data   []float32
	all    []float32
	before []float32
}

// Guard copies data between guard bands.
func Guard(name string, data []float32) *Guarded {
	g := Poisoned(name, len(data))
	copy(g.Data, data)
	g.before = slices.Clone(data)
	return g
}

// Poisoned makes a guarded output of n elements that are all NaN, so that one
// left unwritten shows.
func Poisoned(name string, n int) *Guarded {
	all := make([]float32, n+2*guardWords)
	for i := range all {
		all[i] = guardWord
	}
	return &Guarded{Name: name, Data: all[guardWords : guardWords+n : guardWords+n], all: all}
}

// Check reports a write outside the slice, or to an input.
func (g *Guarded) Check() error {
	for i, v := range g.all {
		inside := guardWords <= i && i < guardWords+len(g.Data)
		if !inside && math.Float32bits(v) != math.Float32bits(guardWord) {
			return fmt.Errorf("%s: element %d was written, outside its %d elements", g.Name, i-guardWords, len(g.Data))
		}
	}
	if g.before == nil {
		return nil
	}
	for i, v := range g.Data {
		if math.Float32bits(v) != math.Float32bits(g.before[i]) {
			return fmt.Errorf("%s: an input, but element %d was changed from %g to %g", g.Name, i, g.before[i], v)
		}
	}
	return nil
}
