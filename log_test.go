package vkconv_test

import (
	"bytes"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
)

// What is logged: the device that was opened and every plan, with its algorithm.
func TestLog(t *testing.T) {
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			e, err := vkconv.Open(vkconv.Options{Device: name, CacheDir: "off",
				Log: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			s := conv.Shape{1, 1, 4, 5}
			l, err := e.NewConv2D(s, []float32{2}, nil, conv.Shape{1, 1, 1, 1}, conv.Params{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for _, want := range []string{"level=INFO msg=opened", "level=DEBUG msg=planned", "layer=conv2d", "took="} {
				if !strings.Contains(text.String(), want) {
					t.Errorf("no %q in %s", want, text.String())
				}
			}
			if n := strings.Count(text.String(), "msg=opened"); n != 1 {
				t.Errorf("opened was logged %d times: %s", n, text.String())
			}
		})
	}
}

// The CPU in the place of a device that is not there is worth a warning.
func TestLogFallback(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the loader's environment variables are those of Linux")
	}
	t.Setenv("VK_DRIVER_FILES", "/nonexistent/icd.json")
	t.Setenv("VK_ICD_FILENAMES", "/nonexistent/icd.json")
	t.Setenv("VKCONV_VALIDATION", "")
	t.Setenv("VKCONV_DEVICE", "")
	var text bytes.Buffer
	e, err := vkconv.Open(vkconv.Options{Log: slog.New(slog.NewTextHandler(&text, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !strings.Contains(text.String(), "level=WARN") || !strings.Contains(text.String(), "no Vulkan device") {
		t.Errorf("logged %q", text.String())
	}
}

// $VKCONV_LOG logs without a change of the program, and is checked.
func TestLogVariable(t *testing.T) {
	t.Setenv("VKCONV_LOG", "loud")
	_, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if !errors.Is(err, conv.ErrParams) || !strings.Contains(err.Error(), `VKCONV_LOG is "loud"`) {
		t.Errorf("%v", err)
	}
	t.Setenv("VKCONV_LOG", "error")
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Close()
}
