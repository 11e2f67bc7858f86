package vkconv_test

import (
	"testing"

	"vkconv"
)

// A call in the steady state, submitted and waited for, leaves nothing on Go's heap,
// whatever layer it is of.
func TestCallAllocations(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		for _, l := range everyLayer(t, e) {
			calls := func() {
				for range 10 {
					if err := l.run(); err != nil {
						t.Fatalf("%s: %v", l.name, err)
					}
				}
				if err := e.Wait(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for range 3 { // what is kept for later calls grows to its size
				calls()
			}
			least := testing.AllocsPerRun(1, calls)
			for range 2 { // Go's runtime allocates as well, now and then
				if least > 0 {
					least = min(least, testing.AllocsPerRun(1, calls))
				}
			}
			if least > 0 {
				t.Errorf("%s: ten calls and a wait allocate %v times", l.name, least)
			}
		}
	})
}
