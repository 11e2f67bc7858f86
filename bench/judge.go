package bench

import (
	"runtime"
	"sync"

	"vkconv/conv"
	"vkconv/cpuref"
)

// judge holds a forward result against the oracle: all of it, or one element in
// every where the oracle would take too long for all.
func (d data) judge(got []float32) conv.Verdict {
	if d.want != nil || len(got) == 0 {
		return conv.Judge(got, d.want, nil, d.roundings())
	}
	workers := runtime.GOMAXPROCS(0)
	verdicts := make([]conv.Verdict, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			worst := conv.Verdict{Index: -1}
			for i := w * d.every; i < len(got); i += workers * d.every {
				worst = worse(worst, got[i], d.at(i), i, d.roundings())
			}
			verdicts[w] = worst
		})
	}
	wg.Wait()
	v := verdicts[0]
	for _, w := range verdicts {
		if v.Index < 0 || w.Index >= 0 && !(w.Worst <= v.Worst) {
			v = w
		}
	}
	return v
}

// at asks the oracle for one element of the output.
func (d data) at(i int) conv.Sum {
	p := d.p
	ox, oy, k, n := i%p.Wo, i/p.Wo%p.Ho, i/p.Wo/p.Ho%p.K, i/p.Wo/p.Ho/p.K
	if p.Deformable() {
		return cpuref.DeformConv2DAt(p, d.x, d.offset, d.mask, d.weight, d.bias, n, k, oy, ox)
	}
	return cpuref.Conv2DAt(p, d.x, d.weight, d.bias, n, k, oy, ox)
}

// judgeSome is conv.Judge of the elements that the oracle did not skip.
func judgeSome(got []float32, sums []conv.Sum, roundings int) conv.Verdict {
	v := conv.Verdict{Index: -1}
	if len(got) != len(sums) {
		return v
	}
	for i, s := range sums {
		if s.Terms != cpuref.Skipped {
			v = worse(v, got[i], s, i, roundings)
		}
	}
	return v
}

// worse returns the verdict on element i where it is worse than v; a share that
// is no number is worse than any.
func worse(v conv.Verdict, got float32, s conv.Sum, i, roundings int) conv.Verdict {
	bound := s.Bound(roundings)
	if share := conv.Share(got, s.Value, bound); v.Index < 0 || !(share <= v.Worst) {
		return conv.Verdict{Worst: share, Index: i, Got: got, Want: s.Value, Bound: bound}
	}
	return v
}
