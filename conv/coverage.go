package conv

// Coverage returns, for each pixel of a stack's receptive field along one axis
// from its first to its last, on how many paths through the stack one output
// reads it. A pixel with 0 is never seen: the gridding of dilated stacks.
func Coverage(stack ...Layer) []int {
	// From the output back to the input: each layer spreads every place over its
	// taps, then its stride places the next layer's inputs apart.
	places := map[int]int{0: 1} // in pixels of the current layer's output
	for i := len(stack) - 1; i >= 0; i-- {
		l := stack[i]
		before := make(map[int]int, len(places)*l.Kernel)
		for at, paths := range places {
			for k := range l.Kernel {
				before[at*max(l.Stride, 1)+k*max(l.Dilation, 1)] += paths
			}
		}
		places = before
	}
	counts := make([]int, ReceptiveField(stack...).Size)
	for at, paths := range places {
		counts[at] = paths
	}
	return counts
}

// Unseen counts the pixels of the receptive field that one output never reads.
func Unseen(stack ...Layer) (n int) {
	for _, paths := range Coverage(stack...) {
		if paths == 0 {
			n++
		}
	}
	return n
}

// HybridDilation reports whether a series of dilation rates for kernels of one
// size leaves no holes, by the rule of Wang et al. 2018 ("Understanding
// Convolution for Semantic Segmentation"): with
//
//	Mₙ = rₙ,  Mᵢ = max(Mᵢ₊₁ − 2rᵢ, 2rᵢ − Mᵢ₊₁, rᵢ)
//
// the gap M₂ must not exceed the kernel, and the rates must have no divisor in
// common. It returns M₂ too. For 3×3 kernels the rates 1, 2, 5 pass, 1, 2, 9 do
// not for the gap of 5, and 2, 2, 2 do not for their divisor.
func HybridDilation(kernel int, rates ...int) (gap int, ok bool) {
	if len(rates) == 0 {
		return 0, true
	}
	gap = rates[len(rates)-1]
	for i := len(rates) - 2; i >= 1; i-- {
		gap = max(gap-2*rates[i], 2*rates[i]-gap, rates[i])
	}
	divisor := rates[0]
	for _, r := range rates {
		for r != 0 {
			divisor, r = r, divisor%r
		}
	}
	return gap, gap <= kernel && divisor == 1
}
