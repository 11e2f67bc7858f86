package vkconv

import (
	"context"
	"fmt"
	"os"
	"time"

	"vkconv/conv"
)

// Choice says how a layer's kernel was chosen on a device: see [Conv2D].Choices.
type Choice struct {
	Of       string // what it computes: "y", "dx", "dweight" or, for all that goes by samples, "doffset"
	How      string // "by the cost model", "measured" or "measured before and kept", and why if that is a surprise
	Why      string // all of it in a sentence
	Variants []Variant
}

// Variant is one way to compute something.
type Variant struct {
	Name   string
	Unfit  string        // why it cannot, in a few words; "" where it can
	Cost   float64       // what the cost model expects: only the ratio of two means something
	Time   time.Duration // the best of Runs runs on the device; 0 where it was not tried
	Runs   int
	Chosen bool
}

// Choices say how the layer's kernels were chosen: by Options.Tune's measurement or
// by the cost model. There are none on the CPU path, which has one kernel for
// everything, none of layers that are computed in pieces or have a single kernel.
func (l *layer) Choices() []Choice {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return choicesOf(l.op)
}

func choicesOf(op operator) []Choice {
	if c, ok := op.(interface{ choices() []Choice }); ok {
		return c.choices()
	}
	return nil
}

// TuneUntil ends the tuning of a layer's shape with ctx's error when ctx is done,
// between one run of a kernel and the next, and with it the call that makes the
// layer, or the block of layers. It makes no difference without Options.Tune.
func TuneUntil(ctx context.Context) LayerOption { return func(o *layerOptions) { o.tuneUntil = ctx } }

// tuneContext is the context to tune in.
func (o layerOptions) tuneContext() context.Context {
	if o.tuneUntil == nil {
		return context.Background()
	}
	return o.tuneUntil
}

// tuneBudget is Options.Tune or, where that is 0, what $VKCONV_TUNE says.
func tuneBudget(o Options) (time.Duration, error) {
	if o.Tune < 0 {
		return 0, fmt.Errorf("%w: Tune is %v, must be at least 0", conv.ErrParams, o.Tune)
	}
	text := os.Getenv("VKCONV_TUNE")
	if o.Tune > 0 || text == "" {
		return o.Tune, nil
	}
	budget, err := time.ParseDuration(text)
	if err != nil || budget < 0 {
		return 0, fmt.Errorf("%w: $VKCONV_TUNE is %q, must be a duration of at least 0, such as 2s", conv.ErrParams, text)
	}
	return budget, nil
}
