package vkconv

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"vkconv/conv"
)

// logger is where diagnostics go: Options.Log, or without one standard error from
// the level on that $VKCONV_LOG names, or nowhere.
func logger(o Options) (*slog.Logger, error) {
	if o.Log != nil {
		return o.Log, nil
	}
	text := os.Getenv("VKCONV_LOG")
	if text == "" {
		return slog.New(slog.DiscardHandler), nil
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("%w: $VKCONV_LOG is %q, must be debug, info, warn or error", conv.ErrParams, text)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
}

// planned logs how a layer will compute and how long its planning took, which on
// a device is mostly the driver's compiler.
func (e *Engine) planned(name string, op operator, begun time.Time) {
	if e.log.Enabled(context.Background(), slog.LevelDebug) {
		e.log.Debug("planned", "layer", name, "how", op.describe(), "workspace", op.workspace(), "took", time.Since(begun))
		for _, c := range choicesOf(op) {
			e.log.Debug("chosen", "layer", name, "why", c.Why)
		}
	}
}
