package bench

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"vkconv"
	"vkconv/conv"
)

func TestRunFleet(t *testing.T) {
	f, err := vkconv.OpenFleet(vkconv.Options{Threads: 1}, "cpu", "cpu")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := Bench{Budget: time.Millisecond, Seed: 3}
	var out bytes.Buffer
	table := SpreadTable{W: &out, Devices: []string{"CPU, 1 threads", "llvmpipe (LLVM)"}}
	for i, l := range small().Layers {
		for _, backward := range []bool{false, true} {
			input := small().Input
			input[1] = l.Weight[1] * max(1, l.Params.Groups)
			c := Case{Group: "group", Name: "one layer", Input: input, Layers: []Layer{l}, Backward: backward}
			s, err := b.RunFleet(context.Background(), f, c, 5)
			if err != nil {
				t.Fatalf("layer %d, backward %v: %v", i, backward, err)
			}
			if len(s.Alone) != 2 || s.Images[0]+s.Images[1] != 5 || s.Together.N < fewest || s.Worst <= 0 || s.Worst > 1 || s.Gain() <= 0 {
				t.Errorf("layer %d, backward %v: %+v", i, backward, s)
			}
			table.Row(s)
		}
	}
	if n := strings.Count(out.String(), "group\n"); n != 1 {
		t.Errorf("%d headings:\n%s", n, &out)
	}
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(line) > 96 {
			t.Errorf("a line of more than 95 characters: %s", line)
		}
	}
	if _, err := b.RunFleet(context.Background(), f, small(), 2); !errors.Is(err, conv.ErrUnsupported) {
		t.Errorf("a chain: %v", err)
	}
	wrong := spread{d: data{p: conv.Problem{N: 1, K: 1, Ho: 1, Wo: 1}, want: []conv.Sum{{Value: 1, Abs: 1, Terms: 1}}}}
	wrong.out[0] = []float32{1.5}
	if _, err := wrong.verify(); !errors.Is(err, ErrMismatch) {
		t.Errorf("a wrong result: %v", err)
	}
}
