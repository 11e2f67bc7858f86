package cpuref

import (
	"math/rand/v2"
	"testing"

	"vkconv/conv"
)

// What is not skipped is what the whole has, and what is not skipped is one unit in three.
func TestSomeGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(s conv.Shape) []float32 {
		v := make([]float32, s.Len())
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	params := conv.Params{Padding: conv.Pad(1), Groups: 2}
	x, w := conv.Shape{2, 8, 6, 5}, conv.Shape{6, 4, 3, 3}
	p, err := params.DeformProblem(conv.Deform{OffsetGroups: 2, Mask: true}, x, w, true)
	if err != nil {
		t.Fatal(err)
	}
	in, weight, dy, offset, mask := draw(x), draw(w), draw(p.Output()), draw(p.Offset()), draw(p.MaskShape())
	plain := p
	plain.OffsetGroups, plain.Mask = 0, false
	for name, pair := range map[string][2]Gradients{
		"conv":   {Conv2DBackward(plain, in, weight, dy), Conv2DBackwardSome(plain, in, weight, dy, 3)},
		"deform": {DeformConv2DBackward(p, in, offset, mask, weight, dy), DeformConv2DBackwardSome(p, in, offset, mask, weight, dy, 3)},
	} {
		for g, units := range []int{2 * 8, 6 * 4, 1, 2 * 2 * 9, 2 * 2 * 9} {
			pick := func(g2 Gradients) []conv.Sum {
				return [][]conv.Sum{g2.X, g2.Weight, g2.Bias, g2.Offset, g2.Mask}[g]
			}
			whole, part := pick(pair[0]), pick(pair[1])
			if len(whole) != len(part) {
				t.Fatalf("%s, gradient %d: %d elements of %d", name, g, len(part), len(whole))
			}
			kept := 0
			for i, s := range part {
				if s.Terms == Skipped {
					continue
				}
				kept++
				if s != whole[i] {
					t.Errorf("%s, gradient %d: element %d is %+v, of the whole %+v", name, g, i, s, whole[i])
				}
			}
			if want := len(whole) / units * ((units + 2) / 3); kept != want {
				t.Errorf("%s, gradient %d: %d elements of %d, want %d", name, g, kept, len(whole), want)
			}
		}
	}
}
