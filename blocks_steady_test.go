package vkconv_test

import (
	"slices"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// Every gradient of every block to the same bits, twenty times, with other work
// in flight; what single operators do, the tests beside them hold.
func TestBlocksSteady(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		defer otherWork(t, e)()
		for i := range 1 + convtest.Cases(20)/20 {
			for _, b := range blocksOf(t, e, conv.Float32, convtest.Seed()+3, i) {
				var first [][]float64
				for round := range 20 {
					b.poison(t, e)
					if err := b.run(); err != nil {
						t.Fatalf("%s: %v", b.name, err)
					}
					got := b.read(t)
					if round == 0 {
						first = got
					}
					for j := range got {
						if !slices.EqualFunc(got[j], first[j], bits64) {
							t.Fatalf("%s: %s has other bits in round %d", b.name, b.wishes[j].name, round)
						}
					}
				}
			}
		}
	})
}
