//go:build cgo

package gpu_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// hang opens a device with a short patience and gives it more to do than it can finish meanwhile.
func hang(t *testing.T, i gpu.Info, patience time.Duration, log *slog.Logger) (*gpu.Device, *gpu.Submission) {
	t.Helper()
	d := must[*gpu.Device](t)(gpu.Open(gpu.Options{Device: i.Name, CacheDir: "off", HangTimeout: patience, Log: log}))
	p := must[*gpu.Pipeline](t)(d.Pipeline(module(t, "spin"), nil))
	const n = 1 << 13 // × 60,000 rounds: 0.4 s on llvmpipe, 2.5 s on SwiftShader
	x := buffer(t, d, slices.Repeat([]uint32{1}, n)...)
	s := must[*gpu.Stream](t)(d.NewStream())
	check(t, s.Dispatch(p, groups(n, 64), words(60000), []gpu.Binding{{Buffer: x}}))
	return d, must[*gpu.Submission](t)(s.Submit())
}

func TestHang(t *testing.T) {
	for _, i := range gputest.List(t) {
		t.Run(i.Name, func(t *testing.T) {
			var said bytes.Buffer
			d, u := hang(t, i, 20*time.Millisecond, slog.New(slog.NewTextHandler(&said, nil)))
			start := time.Now()
			err := u.Wait(context.Background())
			wants(t, "wait", err, gpu.ErrDeviceLost, "HangTimeout of 20ms")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it was given up after %v", took)
			}
			_, err = d.NewStream()
			wants(t, "stream", err, gpu.ErrDeviceLost, "HangTimeout")
			if err := d.Close(); !errors.Is(err, gpu.ErrDeviceLost) || !strings.Contains(err.Error(), "still hangs") {
				t.Errorf("closing while it hangs: %v", err)
			}
			_, err = d.NewBuffer(4)
			wants(t, "after Close", err, gpu.ErrClosed)
			if n := strings.Count(said.String(), "level=ERROR msg=lost"); n != 1 { // however many calls fail
				t.Errorf("the loss was logged %d times: %s", n, said.String())
			}
		})
	}
}

// A device that was given up too early and has finished since is closed as any other.
func TestHangThatEnds(t *testing.T) {
	for _, i := range gputest.List(t) {
		t.Run(i.Name, func(t *testing.T) {
			d, u := hang(t, i, 5*time.Millisecond, nil)
			wants(t, "wait", u.Wait(context.Background()), gpu.ErrDeviceLost, "HangTimeout")
			for !d.Settled() {
				time.Sleep(20 * time.Millisecond)
			}
			check(t, d.Close())
			if left := d.LiveObjects(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
			for _, m := range d.Messages() {
				t.Errorf("validation: %s", m)
			}
		})
	}
}

func TestPatience(t *testing.T) {
	for _, i := range gputest.List(t) {
		d := gputest.Open(t, gpu.Options{Device: i.Name, CacheDir: "off", HangTimeout: time.Minute})
		check(t, once(d, t))
		time.Sleep(10 * time.Millisecond)
		check(t, once(d, t))
	}
	_, err := gpu.Open(gpu.Options{HangTimeout: -1})
	wants(t, "negative", err, gpu.ErrArgument, "HangTimeout", "-1ns")
}
