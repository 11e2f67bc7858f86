package main

import (
	"context"
	"runtime"
	"sync"

	"vkconv/conv"
	"vkconv/cpuref"
)

// compareTerms is about how many terms the oracle sums up before a comparison
// turns to samples: two seconds or so on two cores.
const compareTerms = 5e8

// compare holds a result against the oracle, element by element without
// keeping the oracle's answers, which for a photograph would take gigabytes.
// Where even the time is too much, it takes one element in every, evenly spread.
func (o operation) compare(ctx context.Context, got []float32) (v conv.Verdict, every int, err error) {
	p := o.p
	terms := float64(p.C / p.Groups * p.Taps())
	if p.Deformable() {
		terms *= 8 // four corners of a sample, and their slopes
	}
	terms += 16 // what an element costs by itself
	every = 1 + int(terms*float64(len(got))/compareTerms)
	if every > 1 {
		every |= 1 // odd, so that even widths do not give columns
	}
	workers := runtime.GOMAXPROCS(0)
	verdicts := make([]conv.Verdict, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			worst := conv.Verdict{Index: -1}
			for n, i := 0, w*every; i < len(got); n, i = n+1, i+workers*every {
				if n%4096 == 0 && ctx.Err() != nil {
					break
				}
				s := o.at(i)
				bound := s.Bound(o.roundings())
				if share := conv.Share(got[i], s.Value, bound); worst.Index < 0 || share > worst.Worst {
					worst = conv.Verdict{Worst: share, Index: i, Got: got[i], Want: s.Value, Bound: bound}
				}
			}
			verdicts[w] = worst
		})
	}
	wg.Wait()
	v = verdicts[0]
	for _, w := range verdicts {
		if w.Worst > v.Worst {
			v = w
		}
	}
	return v, every, ctx.Err()
}

// at asks the oracle for one element of the output.
func (o operation) at(i int) conv.Sum {
	p := o.p
	ox, oy, k, n := i%p.Wo, i/p.Wo%p.Ho, i/p.Wo/p.Ho%p.K, i/p.Wo/p.Ho/p.K
	if p.Deformable() {
		return cpuref.DeformConv2DAt(p, o.x, o.offset, o.mask, o.weight, o.bias, n, k, oy, ox)
	}
	return cpuref.Conv2DAt(p, o.x, o.weight, o.bias, n, k, oy, ox)
}
