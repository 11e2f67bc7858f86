package explain

import (
	"fmt"
	"strings"
)

// Other is a stack that sees as far as the one explained, from as many
// channels to as many at the input's size, or that one itself (the first).
type Other struct {
	What   string `json:"what"`
	Field  [2]int `json:"field"`
	Layers int    `json:"layers"`
	// Weights a pair of an incoming and an outgoing channel: 81 of a 9×9, 36 of
	// four 3×3; 0 where the layers' channels differ, and then what the others
	// cost at the input's channels is not to be compared.
	Weights int   `json:"weights_a_channel_pair"`
	Params  int64 `json:"parameters"`
	MACs    int64 `json:"multiply_adds"`
	Unseen  int   `json:"unseen"`
}

// others lists what else sees as far. Kernels are square unless the field is not.
func (r *Report) others() []Other {
	own := Other{What: "this", Field: r.Field, Layers: len(r.Rows), Params: r.Params, MACs: r.MACs, Unseen: r.Unseen}
	for _, row := range r.Rows {
		each := row.Params
		if pair := int64(r.Input[1]) * int64(r.Input[1]); row.Output[1] == r.Input[1] && !row.Branch && each == int64(row.Kernel[0]*row.Kernel[1])*pair {
			own.Weights += row.Kernel[0] * row.Kernel[1]
		} else {
			own.Weights = 0
			break
		}
	}
	list := []Other{own}
	add := func(what string, layers ...Layer) {
		o := Other{What: what, Layers: len(layers)}
		p := emptyPath()
		for _, l := range layers {
			var ok bool
			if p, ok = p.with(l); !ok {
				return
			}
			o.Weights += l.Kernel[0] * l.Kernel[1]
		}
		o.Field = [2]int{p.field[0].Size, p.field[1].Size}
		o.Unseen = o.Field[0]*o.Field[1] - readsOf([]path{p}).Seen()
		o.Params = int64(o.Weights) * int64(r.Input[1]) * int64(r.Input[1])
		if float64(o.Params)*float64(r.Input[0])*float64(r.Input[2])*float64(r.Input[3]) > mostMACs {
			return
		}
		o.MACs = o.Params * int64(r.Input[0]) * int64(r.Input[2]) * int64(r.Input[3])
		if same := o.Layers == own.Layers && o.Weights == own.Weights && o.Unseen == own.Unseen; !same { // or it is the stack itself
			list = append(list, o)
		}
	}
	kernel := func(rows, columns, dilation int) Layer {
		return Layer{Kernel: [2]int{rows, columns}, Stride: [2]int{1, 1}, Dilation: [2]int{dilation, dilation}, Groups: 1}
	}
	side := max(r.Field[0], r.Field[1])
	if side <= 3 {
		if side > 1 {
			add(fmt.Sprintf("one %d×%d", r.Field[0], r.Field[1]), kernel(r.Field[0], r.Field[1], 1))
		}
		return list
	}
	add(fmt.Sprintf("one %d×%d", r.Field[0], r.Field[1]), kernel(r.Field[0], r.Field[1], 1))
	reach := side / 2 // pixels each way; an even field is passed by one
	if reach <= mostLayers {
		plain := make([]Layer, reach)
		for i := range plain {
			plain[i] = kernel(3, 3, 1)
		}
		add(fmt.Sprintf("%d × 3×3", reach), plain...)
	}
	rates := ratesFor(reach)
	dilated, names := make([]Layer, len(rates)), make([]string, len(rates))
	for i, rate := range rates {
		dilated[i], names[i] = kernel(3, 3, rate), fmt.Sprint(rate)
	}
	add("3×3 at dilations "+strings.Join(names, ", "), dilated...)
	add(fmt.Sprintf("3×3 at dilation %d", reach), kernel(3, 3, reach))
	return list
}

// ratesFor returns dilations of 3×3 kernels that together reach so many pixels
// each way and leave no hole: powers of two, and what is then lacking. Ascending
// rates leave none as long as each is at most the width that those before it
// see without a hole, 1 + 2·(their sum), which powers of two always are.
func ratesFor(reach int) (rates []int) {
	sum := 0
	for rate := 1; sum+rate <= reach; rate *= 2 {
		rates = append(rates, rate)
		sum += rate
	}
	if rest := reach - sum; rest > 0 {
		at := 0
		for at < len(rates) && rates[at] <= rest {
			at++
		}
		rates = append(rates[:at], append([]int{rest}, rates[at:]...)...)
	}
	return rates
}
