package vis

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Kernel is a filter of one channel, Size×Size, for cross-correlation.
type Kernel struct {
	Name   string
	Size   int
	Weight []float32
	Signed bool // its responses go either side of 0, as those of a derivative
}

// MaxKernel is the largest size of a named kernel.
const MaxKernel = 63

// kernels makes each named kernel from its size, which is odd. Derivatives are
// scaled so that positive and negative weights each add up to 1: then a
// response to a picture of 0 … 1 lies between −1 and 1. Smoothing kernels add up to 1.
var kernels = map[string]struct {
	make   func(n int) [][]float64
	least  int
	signed bool
}{
	"identity": {func(n int) [][]float64 {
		k := outer(zeros(n), zeros(n))
		k[n/2][n/2] = 1
		return k
	}, 1, false},
	"box":       {func(n int) [][]float64 { return outer(constant(n), constant(n)) }, 1, false},
	"gaussian":  {func(n int) [][]float64 { return outer(binomial(n), binomial(n)) }, 1, false},
	"sobel-x":   {func(n int) [][]float64 { return balance(outer(binomial(n), slope(n))) }, 3, true},
	"sobel-y":   {func(n int) [][]float64 { return balance(outer(slope(n), binomial(n))) }, 3, true},
	"laplacian": {laplacian, 3, true},
	// The picture less its Laplacian.
	"sharpen": {func(n int) [][]float64 {
		edges := laplacian(n)
		return combine(n, func(y, x int, identity float64) float64 { return identity - 2*edges[y][x] })
	}, 3, false},
	// Light from the upper left: the picture plus its slope downwards and to the right.
	"emboss": {func(n int) [][]float64 {
		down, right := balance(outer(slope(n), binomial(n))), balance(outer(binomial(n), slope(n)))
		return combine(n, func(y, x int, identity float64) float64 { return identity + 2*(down[y][x]+right[y][x]) })
	}, 3, false},
}

// Kernels lists the names of the kernels.
func Kernels() []string { return slices.Sorted(maps.Keys(kernels)) }

// NewKernel makes a kernel by name; size 0 means 3 (1 for identity).
func NewKernel(name string, size int) (Kernel, error) {
	k, ok := kernels[name]
	if !ok {
		return Kernel{}, fmt.Errorf("kernel is %q, must be one of %s", name, strings.Join(Kernels(), ", "))
	}
	if size == 0 {
		size = 3
		if name == "identity" {
			size = 1
		}
	}
	if size < k.least || size > MaxKernel || size%2 == 0 {
		return Kernel{}, fmt.Errorf("size of kernel %s is %d, must be odd and between %d and %d", name, size, k.least, MaxKernel)
	}
	out := Kernel{Name: name, Size: size, Signed: k.signed}
	for _, row := range k.make(size) {
		for _, v := range row {
			out.Weight = append(out.Weight, float32(v))
		}
	}
	return out, nil
}

func zeros(n int) []float64 { return make([]float64, n) }

func constant(n int) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = 1 / float64(n)
	}
	return v
}

// binomial returns row n−1 of Pascal's triangle, divided by its sum: n−1 times
// (½, ½), the whole-number Gaussian of variance (n−1)/4.
func binomial(n int) []float64 {
	v := []float64{1}
	for len(v) < n {
		v = convolve(v, []float64{0.5, 0.5})
	}
	return v
}

// slope and bend are the first and second difference of a binomial, n wide.
func slope(n int) []float64 { return convolve(binomial(n-2), []float64{-1, 0, 1}) }
func bend(n int) []float64  { return convolve(binomial(n-2), []float64{1, -2, 1}) }

// laplacian is ∂²/∂x² + ∂²/∂y² of a binomial: for n = 3 the four neighbours less the middle.
func laplacian(n int) [][]float64 {
	smooth := append(append([]float64{0}, binomial(n-2)...), 0)
	across, down := outer(smooth, bend(n)), outer(bend(n), smooth)
	return balance(combine(n, func(y, x int, _ float64) float64 { return across[y][x] + down[y][x] }))
}

func convolve(a, b []float64) []float64 {
	out := make([]float64, len(a)+len(b)-1)
	for i, v := range a {
		for j, w := range b {
			out[i+j] += v * w
		}
	}
	return out
}

func outer(column, row []float64) [][]float64 {
	return combine(len(row), func(y, x int, _ float64) float64 { return column[y] * row[x] })
}

// combine fills a kernel; identity is 1 in the middle and 0 elsewhere.
func combine(n int, f func(y, x int, identity float64) float64) [][]float64 {
	out := make([][]float64, n)
	for y := range out {
		out[y] = make([]float64, n)
		for x := range out[y] {
			identity := 0.0
			if y == n/2 && x == n/2 {
				identity = 1
			}
			out[y][x] = f(y, x, identity)
		}
	}
	return out
}

// balance scales a kernel whose sum is 0 so that its positive weights add up to 1.
func balance(k [][]float64) [][]float64 {
	sum := 0.0
	for _, row := range k {
		for _, v := range row {
			sum += math.Abs(v) / 2
		}
	}
	for _, row := range k {
		for x := range row {
			row[x] /= sum
		}
	}
	return k
}
