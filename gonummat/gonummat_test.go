package gonummat_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"

	"gonum.org/v1/gonum/mat"

	"vkconv"
	"vkconv/conv"
	"vkconv/gonummat"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// A Laplacian of a matrix, as a matrix.
func Example() {
	e, err := vkconv.Open(vkconv.Options{})
	must(err)
	defer e.Close()
	in, err := gonummat.Tensor(e, mat.NewDense(3, 3, []float64{0, 0, 0, 0, 5, 0, 0, 0, 0}))
	must(err)
	weight, shape, err := gonummat.Values(mat.NewDense(3, 3, []float64{0, 1, 0, 1, -4, 1, 0, 1, 0}))
	must(err)
	layer, err := e.NewConv2D(in.Shape(), weight, nil, shape, conv.Params{Padding: conv.Pad(1)})
	must(err)
	out, err := e.NewTensor(layer.Problem().Output())
	must(err)
	must(layer.Run(context.Background(), out, in))
	ms, err := gonummat.Dense(context.Background(), out)
	must(err)
	fmt.Println(mat.Formatted(ms[0]))
	// Output:
	// ⎡  0    5    0⎤
	// ⎢  5  -20    5⎥
	// ⎣  0    5    0⎦
}

// Views with strides, transposes and several channels arrive as they read.
func TestRoundTrip(t *testing.T) {
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	whole := mat.NewDense(4, 6, nil)
	for i := range 4 {
		for j := range 6 {
			whole.Set(i, j, float64(10*i+j))
		}
	}
	a, b := whole.Slice(1, 3, 2, 5), whole.Slice(0, 3, 1, 3).T()
	x, err := gonummat.Tensor(e, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if x.Shape() != (conv.Shape{1, 2, 2, 3}) {
		t.Fatal(x.Shape())
	}
	back, err := gonummat.Dense(context.Background(), x)
	if err != nil || len(back) != 2 || !mat.Equal(back[0], a) || !mat.Equal(back[1], b) {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := gonummat.Tensor(e, a, whole); !errors.Is(err, conv.ErrShape) {
		t.Error(err)
	}
	if _, err := gonummat.Tensor(e); !errors.Is(err, conv.ErrShape) {
		t.Error(err)
	}
}
